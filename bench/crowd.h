/* What the workloads of `crowd` share: its options beside those of `loadgen`, the
 * streams and publishers, waiting for something, and the figures that are printed.
 *
 * Rule: whatever is waited for has a deadline, and a deadline missed is a failure with
 * a sentence. A workload is a sequence of such waits.
 */
#ifndef BENCH_CROWD_H
#define BENCH_CROWD_H

#include "requests.h"

#include <sys/prctl.h>
#include <sys/resource.h>

enum { FIGURES_MAX = 80 };
static const uint64_t SECOND = 1000000000u;

static struct {
    const char *workload, *ready, *seed_path, *batch_path, *live_path, *live_publish_path;
    double broker_pid, batch, batch_publishers, events, warm, pause, live, live_rate, missed;
    double window, storm_in_flight;
} crowd = {.workload = "",
           .ready = "",
           .seed_path = "/v1/users/nobody/events",
           .batch_path = "/v1/events",
           .live_path = "/v1/events?topic=bench",
           .live_publish_path = "/v1/topics/bench/events",
           .batch = 100,
           .batch_publishers = 8,
           .events = 1000,
           .pause = 1,
           .live = 200,
           .live_rate = 50,
           .missed = 5,
           .window = 5,
           .storm_in_flight = 1e6};

static const char CROWD_USAGE[] =
    "usage: crowd idle|publish|replay|storm [options of loadgen] [options]\n"
    "  [--broker-pid PID]             its CPU time is reported apart\n"
    "  [--ready cursor]               a stream is open at its first id; or as loadgen has it\n"
    "  [--seed-path P]                an event is published there first; empty: none\n"
    "  [--window 5]                   seconds of idling, or of the time before the storm\n"
    "  [--batch 100] [--batch-path /v1/events] [--batch-publishers 8]\n"
    "  [--events 1000] [--warm 0]     replayed; 1: the channel was listened to meanwhile\n"
    "  [--pause 1]                    seconds between the last listener and publishing\n"
    "  [--live 200] [--live-rate 50] [--live-path P] [--live-publish-path P]\n"
    "  [--missed 5]                   broadcasts while the crowd is away\n"
    "  [--storm-in-flight N]          coming back at once; all\n";

static struct conn *streams, publishers[MAX_PUBLISHERS];
static int stream_count, ready_count; /* streams that there are; those that are open */
static uint64_t closed, unparsed, controls, refused_streams;
static struct hist connecting;

struct usage {
    uint64_t time, server, broker, own, machine;
};

static struct {
    const char *name;
    double value;
} figures[FIGURES_MAX];
static int figure_count;

static void put(const char *name, double value)
{
    if (figure_count == FIGURES_MAX)
        abort();
    figures[figure_count].name = name;
    figures[figure_count++].value = value;
}

static double per(double amount, double count)
{
    return count > 0 ? amount / count : 0;
}

static double since(uint64_t start)
{
    return (double)(now_ns() - start) / 1e9;
}

static struct usage usage_now(void)
{
    return (struct usage){
        .time = now_ns(),
        .server = opt.pid ? process_cpu_ns((pid_t)opt.pid) : 0,
        .broker = crowd.broker_pid ? process_cpu_ns((pid_t)crowd.broker_pid) : 0,
        .own = clock_ns(CLOCK_PROCESS_CPUTIME_ID),
        .machine = machine_busy_ns(),
    };
}

static double server_rss(void)
{
    return opt.pid ? (double)process_rss((pid_t)opt.pid) : 0;
}

/* The shares of a core that everyone used since `a`; the names begin with `prefix`. */
static void put_shares(const struct usage *a, const char *const names[4])
{
    struct usage b = usage_now();
    double time = (double)(b.time - a->time), server = (double)(b.server - a->server);
    double broker = (double)(b.broker - a->broker), own = (double)(b.own - a->own);
    double others = (double)(b.machine - a->machine) - server - broker - own;
    double shares[] = {server, broker, own, others > 0 ? others : 0};
    for (int i = 0; i < 4; i++)
        if (names[i])
            put(names[i], per(shares[i], time));
}

/* --- waiting --------------------------------------------------------------------- */

/* Lets `--nap-us` pass first, so that answers gather: see loadgen.c. */
static void turn(void)
{
    struct timespec ts = {0, (long)(opt.nap_us * 1e3)};
    if (opt.nap_us > 0)
        nanosleep(&ts, NULL);
    net_turn(1);
}

static void wait_seconds(double seconds)
{
    for (uint64_t start = now_ns(); since(start) < seconds && !failure[0];)
        turn();
}

/* --- streams --------------------------------------------------------------------- */

/* Whether this news opens the stream: the first id unless `--ready` says something else. */
static bool opens(const struct wire *wire, enum wire_news news)
{
    return crowd.ready[0] ? news == opt.ready : news == WIRE_BLOCK && wire->id[0];
}

static void opened(struct conn *conn)
{
    conn->ready = true;
    ready_count++;
    hist_add(&connecting, net.received_at - conn->opened_at);
}

/* Opens streams `from` up to `to`, `in_flight` at once, and waits for all of them. */
static void open_streams(int from, int to, double in_flight)
{
    uint64_t start = now_ns();
    int before = ready_count, next = from;
    while (ready_count - before < to - from && !failure[0]) {
        while (next < to && next - from < ready_count - before + (int)in_flight && !failure[0])
            net_connect(&streams[next++]);
        net_turn(1);
        if (since(start) > opt.connect_timeout)
            fail("only %d streams were open after %.0f s", ready_count, opt.connect_timeout);
    }
}

/* --- publishers ------------------------------------------------------------------ */

static void connect_publishers(int count)
{
    uint64_t start = now_ns();
    for (int i = 0; i < count; i++) {
        publishers[i].publisher = true;
        net_connect(&publishers[i]);
    }
    for (int i = 0; i < count && !failure[0]; i++)
        while (!publishers[i].connected && !failure[0]) {
            net_turn(10);
            if (since(start) > 5)
                fail("a publisher connection was not accepted in 5 s");
        }
}

/* An event as the gateway reads it in a batch; `user` below 0 names none. */
static size_t write_event(char *out, uint64_t number, uint64_t now, long user)
{
    size_t len = (size_t)sprintf(out, "{\"event_type\":\"bench\",");
    if (user >= 0)
        len += (size_t)sprintf(out + len, "\"user_id\":\"user-%ld\",", user);
    len += (size_t)sprintf(out + len, "\"data\":");
    len += write_data(out + len, number, now);
    memcpy(out + len, "}", 2);
    return len + 1;
}

/* The bytes that `write_events` may write for so many. */
static size_t room_for(uint64_t count)
{
    return (size_t)count * ((size_t)opt.body_size + 256) + 8;
}

/* Events `first` and so on as one body: an object if there is one, else an array. */
static size_t write_events(char *out, uint64_t first, uint64_t count, uint64_t now)
{
    size_t len = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (count > 1)
            out[len++] = i ? ',' : '[';
        len += write_event(out + len, first + i, now, -1);
    }
    if (count > 1)
        out[len++] = ']';
    return len;
}

/* --- options and the report ------------------------------------------------------ */

static bool read_own_option(const char *name, const char *value)
{
    const struct option_row rows[] = {{"--seed-path", &crowd.seed_path, NULL},
                                      {"--batch-path", &crowd.batch_path, NULL},
                                      {"--live-path", &crowd.live_path, NULL},
                                      {"--live-publish-path", &crowd.live_publish_path, NULL},
                                      {"--broker-pid", NULL, &crowd.broker_pid},
                                      {"--batch", NULL, &crowd.batch},
                                      {"--batch-publishers", NULL, &crowd.batch_publishers},
                                      {"--events", NULL, &crowd.events},
                                      {"--warm", NULL, &crowd.warm},
                                      {"--pause", NULL, &crowd.pause},
                                      {"--live", NULL, &crowd.live},
                                      {"--live-rate", NULL, &crowd.live_rate},
                                      {"--missed", NULL, &crowd.missed},
                                      {"--window", NULL, &crowd.window},
                                      {"--storm-in-flight", NULL, &crowd.storm_in_flight}};
    return take_option(rows, sizeof rows / sizeof *rows, name, value);
}

/* What is not an option of `crowd` is left for `read_options`. */
static bool read_arguments(int argc, char **argv)
{
    static char **rest; /* its texts are kept as options */
    rest = calloc((size_t)argc + 1, sizeof *rest);
    int count = 1;
    if (!rest || argc < 2)
        return false;
    crowd.workload = argv[1];
    for (int i = 2; i < argc; i += 2) {
        if (i + 1 < argc && read_own_option(argv[i], argv[i + 1]))
            continue;
        if (i + 1 < argc && strcmp(argv[i], "--ready") == 0)
            crowd.ready = argv[i + 1];
        rest[count++] = argv[i];
        if (i + 1 < argc)
            rest[count++] = argv[i + 1];
    }
    return read_options(count, rest) && crowd.batch >= 1 && crowd.live_rate > 0 &&
           crowd.missed >= 1 && crowd.live >= 1 &&
           crowd.batch_publishers >= 1 && crowd.batch_publishers <= MAX_PUBLISHERS;
}

static int print_report(void)
{
    printf("{\"error\": \"%s\"", failure);
    for (int i = 0; i < figure_count; i++)
        printf(", \"%s\": %.3f", figures[i].name, figures[i].value);
    printf("}\n");
    return failure[0] ? 2 : 0;
}

#endif
