/* Many users at once: what a server does besides fanning out.
 *
 *   crowd idle     every user connects; then nothing happens
 *   crowd publish  every user connects; publishers post to random ones, each its next
 *                  event when the last one was answered; singly, then in batches
 *   crowd replay   clients come with the id before a history, and are given all of it
 *   crowd storm    everyone is dropped and comes back with their last id, while others
 *                  stay and go on listening
 *
 * Every event is accounted for. One thread. Prints one JSON object; exit 2 if it did
 * not run. Losses are for the driver to judge: they are figures here.
 */
#define _GNU_SOURCE
#include "crowd_publish.h"
#include "crowd_replay.h"
#include "crowd_storm.h"

/* --- idle ------------------------------------------------------------------------- */

static void idle(void)
{
    seed();
    struct usage all = usage_now();
    connect_everybody();
    static const char *const names[] = {"idle_cpu_share", "idle_broker_cpu_share", NULL, NULL};
    struct usage a = usage_now();
    wait_seconds(crowd.window);
    put_shares(&a, names);
    put_shares(&all, SHARES);
}

/* --- what happens on a connection -------------------------------------------------- */

static void connected(struct conn *conn)
{
    int i = (int)(conn - streams);
    if (conn->publisher)
        return;
    if (last_ids && storming && i < crowd_size)
        subscribe(conn, opt.path, (uint64_t)i, last_ids[i]);
    else if (last_ids && i >= crowd_size)
        subscribe(conn, crowd.live_path, (uint64_t)i, "");
    else
        subscribe(conn, opt.path, (uint64_t)i, i == scout ? "" : last_id);
}

static void gone(struct conn *conn)
{
    if (conn->publisher)
        fail("the server closed a publisher connection");
    else if (left)
        left(conn);
    else if (!conn->ready)
        fail("stream %d was closed before it was open", (int)(conn - streams));
    else
        closed++;
}

static void stream_news(struct conn *conn, struct wire *wire, enum wire_news news)
{
    if (conn->fd < 0)
        return;
    if (!conn->ready && opens(wire, news))
        opened(conn);
    if (news == WIRE_EVENT && arrived)
        arrived((uint64_t)(conn - streams), wire);
    else if (news == WIRE_ANSWERED && wire->status != 200 && storming)
        net_lost(conn);
    else if (news == WIRE_ANSWERED && wire->status != 200)
        fail("stream %d was answered %d", (int)(conn - streams), wire->status);
    else if (news == WIRE_CONTROL)
        controls++;
    else if (news == WIRE_UNPARSED)
        unparsed++;
    else if (news == WIRE_BROKEN || news == WIRE_END)
        net_lost(conn);
}

static void heard(void *owner, struct wire *wire, enum wire_news news)
{
    static bool taken[MAX_PUBLISHERS];
    struct conn *conn = owner;
    if (!conn->publisher) {
        stream_news(conn, wire, news);
        return;
    }
    int publisher = (int)(conn - publishers);
    if (news == WIRE_BROKEN)
        net_lost(conn);
    else if (news == WIRE_ANSWERED)
        taken[publisher] = wire->status / 100 == 2;
    else if (news == WIRE_END && answered == NULL)
        count_answer(publisher, taken[publisher]);
    else if (news == WIRE_END)
        answered(publisher, taken[publisher]);
}

static void prepare(void)
{
    struct rlimit limit;
    stream_count = (int)(opt.connections + crowd.live + 1);
    scout = -1;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if ((double)stream_count + MAX_PUBLISHERS + 16 > (double)limit.rlim_cur)
        fail("%d connections are more than the descriptor limit", stream_count);
    uint64_t events = (uint64_t)(crowd.batch > crowd.missed ? crowd.batch : crowd.missed);
    streams = calloc((size_t)stream_count, sizeof *streams);
    body = malloc(room_for(events > 1 ? events : 1));
    if (!streams || !body)
        abort();
    net.news = heard;
    net.connected = connected;
    net.gone = gone;
    for (int i = 0; i < stream_count; i++)
        streams[i].fd = -1;
    for (int i = 0; i < MAX_PUBLISHERS; i++)
        publishers[i].fd = -1;
    if (!net_open(opt.host, (int)opt.port))
        fail("--host wants a numeric IPv4 address");
    if (opt.pid && !process_rss((pid_t)opt.pid))
        fail("there is no process %d", (int)opt.pid);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } workloads[] = {{"idle", idle}, {"publish", publish}, {"replay", replay}, {"storm", storm}};
    bool good = read_arguments(argc, argv);
    prctl(PR_SET_TIMERSLACK, 1);
    for (size_t i = 0; good && i < sizeof workloads / sizeof *workloads; i++) {
        if (strcmp(workloads[i].name, crowd.workload) != 0)
            continue;
        prepare();
        if (!failure[0])
            workloads[i].run();
        put("closed", (double)closed);
        put("unparsed", (double)unparsed);
        put("control_events", (double)controls);
        return print_report();
    }
    fputs(CROWD_USAGE, stderr);
    fputs(USAGE, stderr);
    return 2;
}
