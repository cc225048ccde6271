/* What the load generator is told to do: every option with its default, read once.
 *
 * Rule: the whole table is here; a value of the wrong kind or an unknown name ends in
 * the usage text, never in a run that measures something else.
 */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "wire.h"

enum { HEADERS_MAX = 4096, MAX_PUBLISHERS = 64, MAX_BODY = 65536 };

static struct options {
    const char *host, *path, *publish_path, *publish_type, *publish_body;
    enum wire_news ready; /* what makes a stream count as open */
    char headers[HEADERS_MAX], publish_headers[HEADERS_MAX];
    char **tokens;
    size_t token_count;
    bool unicast; /* the publish path names one connection */
    double port, pid, connections, connect_rate, in_flight, publishers, body_size;
    double rate, seconds, warmup, settle, connect_timeout, drain, nap_us;
} opt = {.host = "127.0.0.1",
         .path = "/v1/events",
         .publish_path = "/v1/broadcast",
         .publish_type = "application/json",
         .publish_body = "{\"event_type\":\"bench\",\"data\":%e}",
         .ready = WIRE_BLOCK,
         .connections = 100,
         .in_flight = 100,
         .publishers = 1,
         .body_size = 100,
         .rate = 100,
         .seconds = 10,
         .warmup = 1,
         .settle = 0.5,
         .connect_timeout = 60,
         .drain = 5,
         .nap_us = 500};

static const char USAGE[] =
    "usage: loadgen --port P [--host 127.0.0.1] [--pid SERVER]\n"
    "  [--path /v1/events]            %d: the connection's number, %t: its token\n"
    "  [--header 'N: V']...           on every subscription\n"
    "  [--tokens FILE]                a bearer token per line, connection i takes line i\n"
    "  [--ready block]                a stream is open with: head, block (no data), event\n"
    "  [--connections 100] [--connect-rate N/s] [--in-flight 100] [--connect-timeout 60]\n"
    "  [--publish-path /v1/broadcast] %d: each event goes to one connection's path only\n"
    "  [--publish-header 'N: V']...   on every publish\n"
    "  [--publish-type application/json] [--publish-body TEMPLATE]\n"
    "                                 %e: the event, %u: the event form-encoded\n"
    "  [--publish-body-size 100]      bytes of an event's data\n"
    "  [--publishers 1]               keep-alive connections to publish on\n"
    "  [--rate 100] [--settle 0.5] [--warmup 1] [--seconds 10] [--drain 5]\n"
    "  [--nap-us 500]                 streams are read at most this often; 0: at once\n";

static inline bool add_header(char *headers, const char *header)
{
    size_t len = strlen(headers);
    return snprintf(headers + len, HEADERS_MAX - len, "%s\r\n", header) < (int)(HEADERS_MAX - len);
}

static inline bool read_tokens(const char *path)
{
    char *line = NULL;
    size_t cap = 0;
    FILE *file = fopen(path, "r");
    while (file && getline(&line, &cap, file) > 0) {
        line[strcspn(line, "\r\n")] = '\0';
        opt.tokens = realloc(opt.tokens, (opt.token_count + 1) * sizeof *opt.tokens);
        if (!opt.tokens || !(opt.tokens[opt.token_count++] = strdup(line)))
            abort();
    }
    free(line);
    if (file)
        fclose(file);
    return opt.token_count > 0;
}

static inline bool read_ready(const char *text)
{
    opt.ready = strcmp(text, "head") == 0    ? WIRE_ANSWERED
                : strcmp(text, "event") == 0 ? WIRE_UNPARSED
                                             : WIRE_BLOCK;
    return opt.ready != WIRE_BLOCK || strcmp(text, "block") == 0;
}

static inline bool read_number(const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && *out >= 0 && *out < 1e9;
}

/* Where an option's value goes: a text or a number. */
struct option_row {
    const char *name, **text;
    double *number;
};

static inline bool take_option(const struct option_row *rows, size_t count, const char *name, const char *value)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i].name, name) != 0)
            continue;
        if (rows[i].number)
            return read_number(value, rows[i].number);
        *rows[i].text = value;
        return true;
    }
    return false;
}

static inline bool read_option(const char *name, const char *value)
{
    const struct option_row rows[] = {{"--host", &opt.host, NULL},
                                      {"--path", &opt.path, NULL},
                                      {"--publish-path", &opt.publish_path, NULL},
                                      {"--publish-type", &opt.publish_type, NULL},
                                      {"--publish-body", &opt.publish_body, NULL},
                                      {"--port", NULL, &opt.port},
                                      {"--pid", NULL, &opt.pid},
                                      {"--connections", NULL, &opt.connections},
                                      {"--connect-rate", NULL, &opt.connect_rate},
                                      {"--in-flight", NULL, &opt.in_flight},
                                      {"--publishers", NULL, &opt.publishers},
                                      {"--publish-body-size", NULL, &opt.body_size},
                                      {"--rate", NULL, &opt.rate},
                                      {"--seconds", NULL, &opt.seconds},
                                      {"--warmup", NULL, &opt.warmup},
                                      {"--settle", NULL, &opt.settle},
                                      {"--connect-timeout", NULL, &opt.connect_timeout},
                                      {"--drain", NULL, &opt.drain},
                                      {"--nap-us", NULL, &opt.nap_us}};
    return take_option(rows, sizeof rows / sizeof *rows, name, value);
}

static inline bool read_options(int argc, char **argv)
{
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc)
            return false;
        bool good = strcmp(argv[i], "--header") == 0 ? add_header(opt.headers, argv[i + 1])
                    : strcmp(argv[i], "--publish-header") == 0
                        ? add_header(opt.publish_headers, argv[i + 1])
                    : strcmp(argv[i], "--tokens") == 0 ? read_tokens(argv[i + 1])
                    : strcmp(argv[i], "--ready") == 0  ? read_ready(argv[i + 1])
                                                       : read_option(argv[i], argv[i + 1]);
        if (!good) {
            fprintf(stderr, "loadgen: %s %s cannot be used\n", argv[i], argv[i + 1]);
            return false;
        }
    }
    opt.unicast = strstr(opt.publish_path, "%d") != NULL;
    return opt.port >= 1 && opt.port <= 65535 && opt.connections >= 1 && opt.rate > 0 &&
           opt.seconds > 0 && opt.in_flight >= 1 && opt.publishers >= 1 &&
           opt.publishers <= MAX_PUBLISHERS && opt.body_size <= MAX_BODY &&
           (opt.token_count > 0 || !strstr(opt.path, "%t"));
}

#endif
