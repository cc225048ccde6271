/* Clients come with the id before a history and are given all of it.
 *
 * Rule: a scout fetches that id first. It stays and listens (`--warm 1`), or leaves and
 * gives the server time to forget the channel, so that only the history knows it.
 */
#ifndef BENCH_CROWD_REPLAY_H
#define BENCH_CROWD_REPLAY_H

#include "crowd_steps.h"
#include "ledger.h"

static struct ledger history;
static struct hist finishing;
static uint64_t scouted, finished, last_arrival;
static char last_id[WIRE_ID];
static int scout; /* the stream that only fetched the id */

static void history_arrived(uint64_t stream, const struct wire *wire)
{
    if ((int)stream == scout) {
        scouted++;
    } else if (ledger_arrive(&history, stream, wire->seq)) {
        last_arrival = net.received_at;
        if (history.next[stream] == history.events) {
            finished++;
            hist_add(&finishing, net.received_at - streams[stream].opened_at);
        }
    }
}

static void write_history(void)
{
    uint64_t start = now_ns(), step = (uint64_t)crowd.batch;
    for (uint64_t n = 0; n < history.events && !failure[0]; n += step) {
        uint64_t count = history.events - n < step ? history.events - n : step;
        post_and_wait(opt.publish_path, write_events(body, n, count, now_ns()));
    }
    history.published = history.events;
    while (crowd.warm && scouted < history.events && !failure[0]) {
        net_turn(1);
        if (since(start) > opt.connect_timeout)
            fail("the history was published but only %d of it heard", (int)scouted);
    }
}

static void replay(void)
{
    int count = (int)opt.connections;
    double all = crowd.events * opt.connections;
    if (!ledger_open(&history, (uint64_t)crowd.events, (uint64_t)count, false))
        abort();
    scout = count;
    arrived = history_arrived;
    seed();
    open_streams(scout, scout + 1, 1);
    memcpy(last_id, streams[scout].wire.id, sizeof last_id);
    if (!crowd.warm) {
        net_close(&streams[scout]);
        wait_seconds(crowd.pause);
    }
    write_history();
    ready_count = 0;
    connecting = (struct hist){0};
    wait_seconds(opt.settle);
    if (failure[0])
        return;
    net.reads = net.bytes = 0;
    struct usage a = usage_now();
    for (int i = 0; i < count; i++)
        net_connect(&streams[i]);
    while (history.deliveries < ledger_due(&history) && since(a.time) < opt.connect_timeout &&
           !failure[0])
        turn();
    struct usage b = usage_now();
    double seconds = last_arrival > a.time ? (double)(last_arrival - a.time) / 1e9 : 0;
    put_shares(&a, SHARES);
    wait_seconds(0.2); /* duplicates would come now */
    put("replay_seconds", seconds);
    put("replayed_per_second", per((double)history.deliveries, seconds));
    put("finish_us_p50", (double)hist_at(&finishing, 0.5) / 1e3);
    put("finish_us_max", (double)finishing.max / 1e3);
    put("first_bytes_us_p50", (double)hist_at(&connecting, 0.5) / 1e3);
    put("server_cpu_us_per_event", (double)(b.server - a.server) / 1e3 / all);
    put("broker_cpu_us_per_event", (double)(b.broker - a.broker) / 1e3 / all);
    put("bytes_per_event", (double)net.bytes / all);
    put("deliveries", (double)history.deliveries);
    put("lost", (double)ledger_lost(&history));
    put("duplicates", (double)history.duplicates);
    put("out_of_order", (double)history.out_of_order);
    put("foreign", (double)history.foreign);
}

#endif
