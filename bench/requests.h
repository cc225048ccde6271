/* What is sent: subscriptions and publishes, from the templates in the options.
 *
 * Rule: a mark in a template (see USAGE) is the only thing that differs between two
 * servers' requests; everything else of HTTP is here.
 */
#ifndef BENCH_REQUESTS_H
#define BENCH_REQUESTS_H

#include "net.h"
#include "options.h"

enum { PATH_MAX_LEN = 4096, DATA_OUT = MAX_BODY + 64 };
enum { BODY_OUT = MAX_BODY + 8192 }; /* an event, encoded: only its 14 marks grow */

/* What stands behind the marks of a template. */
struct marks {
    uint64_t number;
    const char *token, *event;
};

static inline size_t add_text(char *out, size_t size, size_t len, const char *text, size_t text_len)
{
    if (len + text_len >= size)
        abort(); /* the buffers are made for the longest options */
    memcpy(out + len, text, text_len);
    out[len + text_len] = '\0';
    return len + text_len;
}

static inline size_t add_encoded(char *out, size_t size, size_t len, const char *text)
{
    char code[4];
    for (; *text; text++) {
        bool plain = isalnum((unsigned char)*text) || strchr("-._~", *text);
        snprintf(code, sizeof code, "%%%02X", (unsigned char)*text);
        len = add_text(out, size, len, plain ? text : code, plain ? 1 : 3);
    }
    return len;
}

/* Fills a template in; other uses of `%` (as in `%7B`) stay as they are. */
static inline size_t fill(char *out, size_t size, const char *template, const struct marks *marks)
{
    size_t len = 0;
    char digits[24];
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)marks->number);
    while (*template) {
        size_t plain = strcspn(template, "%");
        len = add_text(out, size, len, template, plain);
        template += plain;
        if (!*template)
            break;
        const char *text = template[1] == 'd'   ? digits
                           : template[1] == 't' ? marks->token
                           : template[1] == 'e' ? marks->event
                                                : NULL;
        if (text)
            len = add_text(out, size, len, text, strlen(text));
        else if (template[1] == 'u' && marks->event)
            len = add_encoded(out, size, len, marks->event);
        else
            len = add_text(out, size, len, template--, 1);
        template += 2;
    }
    return len;
}

/* Queues the request for stream `number`; an empty `last_id` is not sent. */
static inline void subscribe(struct conn *conn, const char *template, uint64_t number,
                             const char *last_id)
{
    char path[PATH_MAX_LEN], request[HEADERS_MAX + PATH_MAX_LEN + 8192];
    const char *token = opt.token_count ? opt.tokens[number % opt.token_count] : NULL;
    fill(path, sizeof path, template, &(struct marks){.number = number, .token = token});
    if (strstr(template, "%t"))
        token = NULL; /* it is in the path */
    int len = snprintf(request, sizeof request,
                       "GET %s HTTP/1.1\r\nHost: %s:%d\r\nAccept: text/event-stream\r\n"
                       "%s%s%s%s%s%s%s\r\n",
                       path, opt.host, (int)opt.port, token ? "Authorization: Bearer " : "",
                       token ? token : "", token ? "\r\n" : "", *last_id ? "Last-Event-ID: " : "",
                       last_id, *last_id ? "\r\n" : "", opt.headers);
    if (len >= (int)sizeof request)
        fail("the request head is too long");
    else
        net_queue(conn, request, (size_t)len);
}

/* An event's data as JSON of `--publish-body-size` bytes, with its number and time. */
static inline size_t write_data(char *out, uint64_t number, uint64_t now)
{
    int len = sprintf(out, "{\"n\":%llu,\"t\":%llu,\"pad\":\"", (unsigned long long)number,
                      (unsigned long long)now);
    int pad = (int)opt.body_size > len + 2 ? (int)opt.body_size - len - 2 : 0;
    memset(out + len, 'x', (size_t)pad);
    memcpy(out + len + pad, "\"}", 3);
    return (size_t)(len + pad) + 2;
}

static inline void post(struct conn *conn, const char *path, const char *body, size_t body_len)
{
    char head[HEADERS_MAX + PATH_MAX_LEN + 512];
    int len = snprintf(head, sizeof head,
                       "POST %s HTTP/1.1\r\nHost: %s:%d\r\nContent-Type: %s\r\n"
                       "Content-Length: %zu\r\n%s\r\n",
                       path, opt.host, (int)opt.port, opt.publish_type, body_len,
                       opt.publish_headers);
    bool idle = conn->out_len == 0;
    net_queue(conn, head, (size_t)len);
    net_queue(conn, body, body_len);
    if (idle)
        net_flush(conn);
}

/* One event by the template; `to` stands for `%d` in the path. */
static inline void post_event(struct conn *conn, const char *path_template, uint64_t to,
                              uint64_t number, uint64_t now)
{
    static char data[DATA_OUT], body[BODY_OUT];
    char path[PATH_MAX_LEN];
    write_data(data, number, now);
    struct marks marks = {.number = to, .event = data};
    fill(path, sizeof path, path_template, &marks);
    post(conn, path, body, fill(body, sizeof body, opt.publish_body, &marks));
}

#endif
