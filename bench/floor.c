/* The floor: what delivering costs when nothing is done but send().
 *
 * One thread, one epoll. A publish is framed once and goes to every stream with one
 * plain send() each: no tokens, no channels, no history, no joining. No gateway that
 * makes one system call per delivery can be cheaper, so its CPU time per delivery
 * is the unit the others are measured in.
 *
 *   floor --port P      GET /stop ends it, any other GET is a stream,
 *                       any POST publishes the `data` of its JSON body.
 * A stream that cannot take a whole frame at once is closed, never torn silently.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FDS = 65536, REQUEST_MAX = 256 * 1024, FRAME_MAX = REQUEST_MAX + 512 };

struct client {
    char *request; /* what has been read of the next request; NULL once streaming */
    size_t len;
    int place; /* index in streams, -1 if not a stream */
};

static struct client clients[MAX_FDS];
static int streams[MAX_FDS], stream_count;
static uint64_t cut_count;
static bool stopping;

static const char STREAM_HEAD[] = "HTTP/1.1 200 OK\r\n"
                                  "Content-Type: text/event-stream\r\n"
                                  "Cache-Control: no-store\r\n"
                                  "Transfer-Encoding: chunked\r\n\r\n"
                                  "d\r\nretry: 3000\n\n\r\n";
static const char ACCEPTED[] = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
static const char STOPPED[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

static bool send_all(int fd, const char *bytes, size_t len)
{
    return send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len;
}

static void drop(int fd)
{
    struct client *c = &clients[fd];
    if (c->place >= 0) {
        int last = streams[--stream_count];
        streams[c->place] = last;
        clients[last].place = c->place;
    }
    free(c->request);
    *c = (struct client){.place = -1};
    close(fd);
}

/* The SSE frame of a publish body, as one HTTP chunk; its length. */
static size_t make_frame(char *frame, const char *body, size_t len)
{
    static char block[FRAME_MAX];
    const char *data = memmem(body, len, "\"data\":", 7);
    if (data) { /* {"event_type":"bench","data":{...}}: the inner object */
        len -= (size_t)(data + 7 - body) + 1;
        body = data + 7;
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    int block_len =
        snprintf(block, sizeof block, "id: %lld%03ld-0\nevent: bench\ndata: %.*s\n\n",
                 (long long)now.tv_sec, now.tv_nsec / 1000000, (int)len, body);
    return (size_t)sprintf(frame, "%x\r\n%s\r\n", (unsigned)block_len, block);
}

static void publish(const char *body, size_t len)
{
    static char frame[FRAME_MAX + 16];
    size_t frame_len = make_frame(frame, body, len);
    for (int i = stream_count - 1; i >= 0; i--) {
        if (!send_all(streams[i], frame, frame_len)) {
            cut_count++;
            drop(streams[i]);
        }
    }
}

/* Answers the first request in the buffer: the bytes it took, 0 if it is not whole,
 * -1 if the connection is to be dropped. */
static ssize_t answer(int fd, struct client *c)
{
    const char *end = memmem(c->request, c->len, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t head = (size_t)(end + 4 - c->request), body = 0;
    if (memcmp(c->request, "GET /stop", 9) == 0) {
        stopping = true;
        return send_all(fd, STOPPED, sizeof STOPPED - 1) ? (ssize_t)head : -1;
    }
    if (c->request[0] == 'G') {
        if (!send_all(fd, STREAM_HEAD, sizeof STREAM_HEAD - 1))
            return -1;
        c->place = stream_count;
        streams[stream_count++] = fd;
        return (ssize_t)head;
    }
    for (const char *p = c->request; (p = memmem(p, (size_t)(end - p), "\r\n", 2)); p += 2)
        if (strncasecmp(p + 2, "content-length:", 15) == 0)
            body = strtoul(p + 17, NULL, 10);
    if (head + body > REQUEST_MAX)
        return -1;
    if (c->len < head + body)
        return 0;
    publish(c->request + head, body);
    return send_all(fd, ACCEPTED, sizeof ACCEPTED - 1) ? (ssize_t)(head + body) : -1;
}

static void readable(int fd)
{
    static char rest[4096];
    struct client *c = &clients[fd];
    if (c->place >= 0) { /* a stream has nothing to say but goodbye */
        ssize_t got = recv(fd, rest, sizeof rest, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            drop(fd);
        return;
    }
    if (!c->request && !(c->request = malloc(REQUEST_MAX + 1)))
        exit(1);
    ssize_t n = recv(fd, c->request + c->len, REQUEST_MAX - c->len, MSG_DONTWAIT);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN)
            drop(fd);
        return;
    }
    c->len += (size_t)n;
    c->request[c->len] = '\0';
    ssize_t taken = 0;
    while (c->len > 0 && c->place < 0 && (taken = answer(fd, c)) > 0) {
        c->len -= (size_t)taken;
        memmove(c->request, c->request + taken, c->len);
        c->request[c->len] = '\0';
    }
    if (taken < 0 || c->len == REQUEST_MAX) {
        drop(fd);
    } else if (c->place >= 0) {
        free(c->request);
        c->request = NULL;
    }
}

static void accept_all(int listener, int epoll)
{
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        clients[fd] = (struct client){.place = -1};
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
            drop(fd);
    }
}

static int listen_on(int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 4096) != 0) {
        perror("floor: listen");
        exit(1);
    }
    return fd;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < MAX_FDS ? limit.rlim_max : MAX_FDS;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
    int port = argc == 3 && strcmp(argv[1], "--port") == 0 ? atoi(argv[2]) : 0;
    if (port <= 0 || port > 65535) {
        fprintf(stderr, "usage: floor --port P\n");
        return 2;
    }
    raise_descriptor_limit();
    int listener = listen_on(port), epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[512], event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    while (!stopping) {
        int n = epoll_wait(epoll, events, 512, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                accept_all(listener, epoll);
            else if (clients[events[i].data.fd].place >= 0 || events[i].events & EPOLLIN)
                readable(events[i].data.fd);
            else
                drop(events[i].data.fd);
        }
    }
    if (cut_count > 0)
        fprintf(stderr, "floor: %llu streams cut, their clients did not read\n",
                (unsigned long long)cut_count);
    return 0;
}
