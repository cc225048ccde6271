/* Steps that several workloads take: a publish of their own, and everybody connecting. */
#ifndef BENCH_CROWD_STEPS_H
#define BENCH_CROWD_STEPS_H

#include "crowd.h"

static const char *const SHARES[] = {"server_cpu_share", "broker_cpu_share", "loadgen_cpu_share",
                                     "others_cpu_share"};

/* What the workload does when an event came, a publisher was answered, a stream left. */
static void (*arrived)(uint64_t stream, const struct wire *wire);
static void (*answered)(int publisher, bool taken);
static void (*left)(struct conn *conn);
static char *body;

static int own_posts, own_refused; /* answers to what is not measured */

static void count_answer(int publisher, bool taken)
{
    (void)publisher;
    own_posts++;
    own_refused += !taken;
}

static void post_and_wait(const char *path, size_t len)
{
    uint64_t start = now_ns();
    void (*before)(int, bool) = answered;
    int expected = own_posts + 1;
    answered = count_answer;
    post(&publishers[0], path, body, len);
    while (own_posts < expected && !failure[0]) {
        net_turn(1);
        if (since(start) > 10)
            fail("a publish was not answered in 10 s");
    }
    if (own_refused)
        fail("a publish to %s was refused", path);
    answered = before;
}

/* One event to nobody: from then on there is a position to tell those who connect. */
static void seed(void)
{
    connect_publishers(1);
    if (*crowd.seed_path && !crowd.ready[0] && !failure[0])
        post_and_wait(crowd.seed_path, write_event(body, 0, 0, -1));
}

/* Everybody connects, and what that took is put down. */
static void connect_everybody(void)
{
    double rss = server_rss(), count = opt.connections;
    struct usage a = usage_now();
    open_streams(0, (int)opt.connections, opt.in_flight);
    double seconds = since(a.time), server = (double)(usage_now().server - a.server);
    put("connect_seconds", seconds);
    put("connects_per_second", per(ready_count, seconds));
    put("connect_us_p50", (double)hist_at(&connecting, 0.5) / 1e3);
    put("connect_us_p99", (double)hist_at(&connecting, 0.99) / 1e3);
    put("server_cpu_us_per_connect", server / 1e3 / count);
    wait_seconds(opt.settle);
    put("rss_per_connection", (server_rss() - rss) / count);
}

#endif
