/* Connections: opened without waiting, one epoll for all of them, requests written as
 * the socket takes them, answers read by `wire.h`.
 *
 * Rule: this part knows of no workload. It tells its owner what happened through the
 * functions in `net`; `gone` comes once per connection that was not closed here.
 * The clock is read once per recv(). Needs _GNU_SOURCE.
 */
#ifndef BENCH_NET_H
#define BENCH_NET_H

#include "measure.h"
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { RECV_MAX = 512 * 1024, EVENTS_MAX = 1024 };

struct conn {
    int fd; /* -1 when closed */
    bool publisher, connected, ready;
    uint64_t opened_at;
    char *out; /* what is still to be written */
    size_t out_len, out_at, out_cap;
    struct wire wire;
};

static struct {
    wire_listener *news;
    void (*connected)(struct conn *conn);
    void (*gone)(struct conn *conn);
    void (*between)(void); /* or NULL */
    void (*woken)(void);   /* for what is in `epoll` without a connection */
    struct sockaddr_in address;
    int epoll;
    uint64_t received_at, reads, bytes; /* bytes and reads of streams only */
} net;

static char failure[256];

/* The first reason is kept; whoever waits for something looks whether there is one. */
static void fail(const char *format, ...)
{
    va_list args;
    if (failure[0])
        return;
    va_start(args, format);
    vsnprintf(failure, sizeof failure, format, args);
    va_end(args);
}

static inline bool net_open(const char *host, int port)
{
    net.address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    net.epoll = epoll_create1(EPOLL_CLOEXEC);
    return net.epoll >= 0 && inet_pton(AF_INET, host, &net.address.sin_addr) == 1;
}

static inline void net_watch(struct conn *conn, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = conn};
    if (epoll_ctl(net.epoll, operation, conn->fd, &event) != 0)
        fail("epoll_ctl: %s", strerror(errno));
}

static inline void net_close(struct conn *conn)
{
    if (conn->fd >= 0)
        close(conn->fd);
    conn->fd = -1;
    conn->connected = conn->ready = false;
    conn->out_len = conn->out_at = 0;
}

static inline void net_lost(struct conn *conn)
{
    if (conn->fd < 0)
        return;
    close(conn->fd);
    conn->fd = -1;
    net.gone(conn);
}

static inline void net_connect(struct conn *conn)
{
    int on = 1;
    wire_reset(&conn->wire);
    conn->connected = conn->ready = false;
    conn->out_len = conn->out_at = 0;
    conn->opened_at = now_ns();
    conn->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (conn->fd < 0) {
        fail("socket: %s", strerror(errno));
        return;
    }
    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(conn->fd, (struct sockaddr *)&net.address, sizeof net.address) == 0 ||
        errno == EINPROGRESS)
        net_watch(conn, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
    else if (errno == ECONNREFUSED)
        net_lost(conn);
    else
        fail("connect: %s", strerror(errno));
}

static inline void net_flush(struct conn *conn)
{
    ssize_t n = 0;
    while (conn->out_at < conn->out_len && n >= 0) {
        n = send(conn->fd, conn->out + conn->out_at, conn->out_len - conn->out_at, MSG_NOSIGNAL);
        if (n > 0)
            conn->out_at += (size_t)n;
    }
    if (n >= 0)
        conn->out_at = conn->out_len = 0;
    else if (errno == EAGAIN)
        net_watch(conn, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    else
        net_lost(conn);
}

/* Queues bytes; they are written with the next flush. */
static inline void net_queue(struct conn *conn, const char *bytes, size_t len)
{
    if (conn->out_len + len > conn->out_cap) {
        conn->out_cap = (conn->out_len + len) * (conn->publisher ? 2 : 1);
        if (!(conn->out = realloc(conn->out, conn->out_cap)))
            abort();
    }
    memcpy(conn->out + conn->out_len, bytes, len);
    conn->out_len += len;
}

static inline void net_writable(struct conn *conn)
{
    if (!conn->connected) {
        int error = 0;
        socklen_t len = sizeof error;
        getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        if (error) {
            net_lost(conn);
            return;
        }
        conn->connected = true;
        net_watch(conn, EPOLL_CTL_MOD, EPOLLIN);
        net.connected(conn);
    } else {
        net_watch(conn, EPOLL_CTL_MOD, EPOLLIN);
    }
    if (conn->fd >= 0)
        net_flush(conn);
}

static inline void net_receive(struct conn *conn)
{
    static char buffer[RECV_MAX];
    ssize_t n = recv(conn->fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    net.received_at = now_ns();
    if (n <= 0) {
        net_lost(conn);
        return;
    }
    if (!conn->publisher) {
        net.reads++;
        net.bytes += (uint64_t)n;
    }
    wire_feed(&conn->wire, buffer, (size_t)n, conn, net.news);
}

/* Waits for at most `wait_ms`, then handles what has come; `between` is called before
 * and after every read, so that a burst of them does not delay what is due. */
static inline void net_turn(int wait_ms)
{
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(net.epoll, events, EVENTS_MAX, wait_ms);
    net.received_at = now_ns();
    if (net.between)
        net.between();
    for (int i = 0; i < n && !failure[0]; i++) {
        struct conn *conn = events[i].data.ptr;
        if (!conn) {
            net.woken();
            continue;
        }
        if (conn->fd >= 0 && events[i].events & EPOLLOUT)
            net_writable(conn);
        if (conn->fd >= 0 && events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
            net_receive(conn);
        if (net.between)
            net.between();
    }
}

#endif
