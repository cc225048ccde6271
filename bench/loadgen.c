/* Subscribers and publisher in one: opens N event streams, publishes at a fixed rate,
 * and accounts for every event on every stream.
 *
 * Open loop: event k is sent at start + k / rate, whatever the server does, so a slow
 * server shows as latency and not as a lower rate. It ends by itself: every phase has
 * a deadline. One thread; the clock is read once per recv().
 * Phases: connect, settle, warm-up (checked for losses, not timed), measure, drain.
 * Prints one JSON object. Exit: 0 clean, 1 something lost or refused, 2 it did not run.
 */
#define _GNU_SOURCE
#include "ledger.h"
#include "requests.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/timerfd.h>

enum { BURST = 64 };
static const uint64_t SECOND = 1000000000u;

/* What had been used and received at one moment. */
struct usage {
    uint64_t time, server_cpu, own_cpu, machine_cpu, deliveries, reads, bytes;
};

static struct conn *streams, publishers[MAX_PUBLISHERS];
static struct ledger ledger;
static struct hist latency, lateness;
static struct usage window_start, window_end;
static int timer_fd, opened, ready_count;
static uint64_t first_connect, connected_at, start_at, warmup_events;
static uint64_t unparsed, controls, closed, answers;
static uint64_t answers_of[MAX_PUBLISHERS]; /* they come in the order of requests */
static uint64_t rss_before, rss_connected, rss_end;

static uint64_t in_ns(double seconds)
{
    return now_ns() + (uint64_t)(seconds * 1e9);
}

static void gone(struct conn *conn)
{
    if (conn->publisher)
        fail("the server closed a publisher connection");
    else if (!conn->ready)
        fail("stream %d was closed before its first bytes", (int)(conn - streams));
    else
        closed++;
}

static void subscribe_stream(struct conn *conn)
{
    if (!conn->publisher)
        subscribe(conn, opt.path, (uint64_t)(conn - streams), "");
}

/* --- what is received ------------------------------------------------------------ */

static void stream_news(struct conn *conn, struct wire *wire, enum wire_news news)
{
    uint64_t stream = (uint64_t)(conn - streams);
    if (news == WIRE_EVENT) {
        if (ledger_arrive(&ledger, stream, wire->seq) && wire->seq >= warmup_events)
            hist_add(&latency, net.received_at > wire->time ? net.received_at - wire->time : 0);
    } else if (news == WIRE_ANSWERED && wire->status != 200) {
        fail("stream %d was answered %d", (int)stream, wire->status);
    } else if (news == opt.ready && !conn->ready) {
        conn->ready = true;
        ready_count++;
    } else if (news == WIRE_CONTROL) {
        controls++;
    } else if (news == WIRE_UNPARSED) {
        unparsed++;
    } else if (news == WIRE_BROKEN || news == WIRE_END) {
        net_lost(conn);
    }
}

static void publisher_news(struct conn *conn, struct wire *wire, enum wire_news news)
{
    if (news == WIRE_BROKEN)
        net_lost(conn);
    if (news != WIRE_ANSWERED)
        return;
    size_t publisher = (size_t)(conn - publishers);
    uint64_t event = answers_of[publisher]++ * (uint64_t)opt.publishers + publisher;
    answers++;
    if (wire->status / 100 == 2)
        return;
    if (ledger.refused == 0)
        fprintf(stderr, "loadgen: event %d was answered %d\n", (int)event, wire->status);
    ledger_refuse(&ledger, event);
}

static void heard(void *owner, struct wire *wire, enum wire_news news)
{
    struct conn *conn = owner;
    if (conn->publisher)
        publisher_news(conn, wire, news);
    else
        stream_news(conn, wire, news);
}

/* --- what is published ----------------------------------------------------------- */

static struct usage usage_now(void)
{
    return (struct usage){.time = now_ns(),
                          .server_cpu = opt.pid ? process_cpu_ns((pid_t)opt.pid) : 0,
                          .own_cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID),
                          .machine_cpu = machine_busy_ns(),
                          .deliveries = ledger.deliveries,
                          .reads = net.reads,
                          .bytes = net.bytes};
}

static uint64_t due_at(uint64_t event)
{
    return start_at + (uint64_t)((double)event * 1e9 / opt.rate);
}

/* Publishes what is due, at most a burst of it: the streams are to be read as well. */
static void publish_due(void)
{
    uint64_t now = net.received_at;
    for (int i = 0; i < BURST && start_at && ledger.published < ledger.events; i++) {
        uint64_t event = ledger.published;
        if (now < due_at(event) || failure[0])
            return;
        if (event == warmup_events)
            window_start = usage_now();
        if (event >= warmup_events)
            hist_add(&lateness, now - due_at(event));
        ledger.published++;
        post_event(&publishers[event % (uint64_t)opt.publishers], opt.publish_path,
                   event % ledger.streams, event, now);
        now = now_ns();
    }
}

/* --- the phases ------------------------------------------------------------------ */

/* Lets deliveries gather while there is nothing to publish. A reader that waits for
 * every single one has the server pay for waking it, several µs each on a virtual
 * machine, and the more the slower the server is; remote clients cost it nothing. */
static void nap(void)
{
    uint64_t until = now_ns() + (uint64_t)(opt.nap_us * 1e3);
    if (opt.nap_us == 0 || !start_at)
        return;
    if (ledger.published < ledger.events && due_at(ledger.published) < until)
        until = due_at(ledger.published);
    struct timespec ts = {(time_t)(until / SECOND), (long)(until % SECOND)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

static void timer_rang(void)
{
    uint64_t expirations;
    if (read(timer_fd, &expirations, sizeof expirations) < 0 && errno != EAGAIN)
        fail("timer: %s", strerror(errno));
}

static void turn(int wait_ms)
{
    nap();
    net_turn(wait_ms);
}

static void turn_until(uint64_t deadline)
{
    while (now_ns() < deadline && !failure[0])
        turn(10);
}

/* How many streams may have been opened by now. */
static int allowed_streams(uint64_t now)
{
    double paced = opt.connections;
    if (opt.connect_rate > 0)
        paced = 1 + (double)(now - first_connect) / 1e9 * opt.connect_rate;
    double in_flight = ready_count + opt.in_flight;
    paced = paced < in_flight ? paced : in_flight;
    return (int)(paced < opt.connections ? paced : opt.connections);
}

static void connect_streams(void)
{
    uint64_t deadline = in_ns(opt.connect_timeout);
    first_connect = now_ns();
    while (ready_count < (int)opt.connections && !failure[0]) {
        for (int allowed = allowed_streams(now_ns()); opened < allowed && !failure[0];)
            net_connect(&streams[opened++]);
        turn(1);
        if (now_ns() > deadline)
            fail("only %d streams were open after %.0f s", ready_count, opt.connect_timeout);
    }
    connected_at = now_ns();
}

static void connect_publishers(void)
{
    for (int i = 0; i < (int)opt.publishers; i++) {
        publishers[i].publisher = true;
        net_connect(&publishers[i]);
    }
    uint64_t deadline = in_ns(5);
    for (int i = 0; i < (int)opt.publishers; i++) {
        while (!publishers[i].connected && !failure[0]) {
            turn(10);
            if (now_ns() > deadline)
                fail("a publisher connection was not accepted in 5 s");
        }
    }
}

static void start_timer(void)
{
    uint64_t interval = (uint64_t)(1e9 / opt.rate);
    start_at = in_ns(0.01);
    struct itimerspec spec = {
        .it_value = {(time_t)(start_at / SECOND), (long)(start_at % SECOND)},
        .it_interval = {(time_t)(interval / SECOND), (long)(interval % SECOND)}};
    if (timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) != 0)
        fail("timerfd: %s", strerror(errno));
}

static void run_load(void)
{
    start_timer();
    uint64_t end = due_at(ledger.events) + (uint64_t)(opt.drain * 1e9);
    while (ledger.published < ledger.events && !failure[0]) {
        turn(10);
        if (now_ns() > end)
            fail("the load generator could not keep the rate");
    }
    while ((answers < ledger.published || ledger.deliveries < ledger_due(&ledger)) &&
           now_ns() < end && !failure[0])
        turn(10);
    window_end = usage_now();
    turn_until(in_ns(0.2)); /* duplicates would come now */
}

static void run(void)
{
    rss_before = opt.pid ? process_rss((pid_t)opt.pid) : 0;
    if (opt.pid && !rss_before)
        fail("there is no process %d", (int)opt.pid);
    connect_streams();
    turn_until(in_ns(opt.settle));
    rss_connected = opt.pid ? process_rss((pid_t)opt.pid) : 0;
    connect_publishers();
    if (!failure[0])
        run_load();
    rss_end = opt.pid ? process_rss((pid_t)opt.pid) : 0;
}

/* --- the report ------------------------------------------------------------------ */

static double per(double amount, double count)
{
    return count > 0 ? amount / count : 0;
}

static void report_counts(uint64_t lost)
{
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {{"connections", ledger.streams},
                {"ready", (uint64_t)ready_count},
                {"published", ledger.published},
                {"refused", ledger.refused},
                {"unanswered", ledger.published - answers},
                {"deliveries", ledger.deliveries},
                {"lost", lost},
                {"duplicates", ledger.duplicates},
                {"out_of_order", ledger.out_of_order},
                {"foreign", ledger.foreign},
                {"unparsed", unparsed},
                {"control_events", controls},
                {"closed", closed},
                {"rss_before", rss_before},
                {"rss_connected", rss_connected},
                {"rss_end", rss_end}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        printf("\"%s\": %llu, ", rows[i].name, (unsigned long long)rows[i].value);
}

static void report_figures(void)
{
    const struct usage *a = window_start.time ? &window_start : &window_end, *b = &window_end;
    double seconds = (double)(b->time - a->time) / 1e9;
    double count = (double)(b->deliveries - a->deliveries);
    double server = (double)(b->server_cpu - a->server_cpu) / 1e3;
    double own = (double)(b->own_cpu - a->own_cpu) / 1e3;
    double others = (double)(b->machine_cpu - a->machine_cpu) / 1e3 - server - own;
    double connecting = connected_at ? (double)(connected_at - first_connect) / 1e9 : 0;
    const struct {
        const char *name;
        double value;
    } rows[] = {{"connect_seconds", connecting},
                {"connects_per_second", per(ready_count, connecting)},
                {"rss_per_connection",
                 per((double)rss_connected - (double)rss_before, ready_count)},
                {"window_seconds", seconds},
                {"deliveries_per_second", per(count, seconds)},
                {"server_cpu_us_per_delivery", per(server, count)},
                {"server_cpu_share", per(server / 1e6, seconds)},
                {"loadgen_cpu_us_per_delivery", per(own, count)},
                {"loadgen_cpu_share", per(own / 1e6, seconds)},
                {"others_cpu_share", others > 0 ? per(others / 1e6, seconds) : 0},
                {"bytes_per_delivery", per((double)(b->bytes - a->bytes), count)},
                {"deliveries_per_read", per(count, (double)(b->reads - a->reads))},
                {"latency_us_p50", (double)hist_at(&latency, 0.5) / 1e3},
                {"latency_us_p99", (double)hist_at(&latency, 0.99) / 1e3},
                {"latency_us_p999", (double)hist_at(&latency, 0.999) / 1e3},
                {"latency_us_max", (double)latency.max / 1e3},
                {"publish_late_us_p99", (double)hist_at(&lateness, 0.99) / 1e3},
                {"publish_late_us_max", (double)lateness.max / 1e3}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        printf("%s\"%s\": %.3f", i ? ", " : "", rows[i].name, rows[i].value);
}

static int report(void)
{
    uint64_t lost = ledger_lost(&ledger);
    bool clean = !failure[0] && !lost && !ledger.refused && answers == ledger.published &&
                 !ledger.duplicates && !ledger.foreign && !unparsed && !closed &&
                 (!ledger.out_of_order || opt.publishers > 1);
    printf("{\"clean\": %s, \"error\": \"%s\", ", clean ? "true" : "false", failure);
    report_counts(lost);
    report_figures();
    printf("}\n");
    return failure[0] ? 2 : clean ? 0 : 1;
}

static void prepare(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (opt.connections + opt.publishers + 16 > (double)limit.rlim_cur)
        fail("%.0f connections are more than the descriptor limit", opt.connections);
    net.news = heard;
    net.connected = subscribe_stream;
    net.gone = gone;
    net.between = publish_due;
    net.woken = timer_rang;
    if (!net_open(opt.host, (int)opt.port))
        fail("--host wants a numeric IPv4 address");
    warmup_events = (uint64_t)(opt.rate * opt.warmup);
    uint64_t events = warmup_events + (uint64_t)(opt.rate * opt.seconds);
    struct epoll_event timer = {.events = EPOLLIN, .data.ptr = NULL};
    streams = calloc((size_t)opt.connections, sizeof *streams);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (!streams || !ledger_open(&ledger, events, (uint64_t)opt.connections, opt.unicast) ||
        epoll_ctl(net.epoll, EPOLL_CTL_ADD, timer_fd, &timer) != 0) {
        perror("loadgen");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    if (!read_options(argc, argv)) {
        fputs(USAGE, stderr);
        return 2;
    }
    prctl(PR_SET_TIMERSLACK, 1);
    prepare();
    if (!failure[0])
        run();
    return report();
}
