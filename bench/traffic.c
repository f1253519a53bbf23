/*
 * Both ends of the traffic that bench/datapath.py measures. Prints one number.
 *
 *   traffic serve PORT N                      accept on PORT .. PORT+N-1, read each connection to its end, for ever
 *   traffic connect SECONDS ADDRESS PORT N    connections per second, one after the other, to PORT .. PORT+N-1 in turn
 *   traffic pump SECONDS ADDRESS PORT         Gbit/s that one TCP connection takes (counted as sent and acknowledged)
 *   traffic drain SECONDS PORT                UDP datagrams per second that arrive, from the first one on
 *   traffic flood SECONDS ADDRESS PORT        send small UDP datagrams as fast as it goes; per second
 *   traffic echo PORT                         send every UDP datagram back, for ever
 *   traffic pong SECONDS ADDRESS PORT         UDP round trips per second
 *   traffic spend SECONDS ADDRESS PORT        nanoseconds of CPU time that a small UDP datagram costs its sender, which
 *                                             between two containers is all of its way; the least of many short runs
 *   traffic hold PORT                         have a UDP socket that is never read, for ever
 *
 * "serve", "drain", "echo" and "hold" print "ready" first.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, SMALL = 64, LARGE = 1 << 18 };

static char data[LARGE];

static void fail(const char *what)
{
    fprintf(stderr, "traffic: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct sockaddr_in place(const char *address, int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, address, &at.sin_addr) != 1)
        fail(address);
    return at;
}

static void ready(void)
{
    puts("ready");
    fflush(stdout);
}

static int udp(int port)
{
    struct sockaddr_in at = place("0.0.0.0", port);
    int much = 16 << 20, fd = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &much, sizeof much);
    if (fd < 0 || bind(fd, (void *)&at, sizeof at) < 0)
        fail("bind");
    ready();
    return fd;
}

static int joined(int type, const char *address, int port)
{
    struct sockaddr_in at = place(address, port);
    int fd = socket(AF_INET, type, 0);
    if (fd < 0 || connect(fd, (void *)&at, sizeof at) < 0)
        fail("connect");
    return fd;
}

static int listening(int port)
{
    struct sockaddr_in at = place("0.0.0.0", port);
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (fd < 0 || bind(fd, (void *)&at, sizeof at) < 0 || listen(fd, 4096) < 0)
        fail("listen");
    return fd;
}

static void serve(int port, int ports)
{
    struct epoll_event event = {.events = EPOLLIN};
    int all = epoll_create1(0);
    for (int i = 0; i < ports; i++) {
        event.data.fd = listening(port + i);
        if (epoll_ctl(all, EPOLL_CTL_ADD, event.data.fd, &event) < 0)
            fail("epoll");
    }
    ready();
    for (;;) {
        if (epoll_wait(all, &event, 1, -1) != 1)
            continue;
        int one = accept(event.data.fd, NULL, NULL);
        if (one < 0)
            continue; /* it was reset before we came to it */
        while (read(one, data, sizeof data) > 0)
            ;
        close(one);
    }
}

/* Each connection is reset, not closed: nothing waits in TIME_WAIT, so ports do not run out. */
static void connections(double seconds, const char *address, int port, int ports)
{
    struct linger reset = {.l_onoff = 1};
    double begun = now(), took;
    long count = 0;
    do {
        int fd = joined(SOCK_STREAM, address, port + (int)(count % ports));
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
        count++;
        took = now() - begun;
    } while (took < seconds);
    printf("%.1f\n", (double)count / took);
}

static void pump(double seconds, const char *address, int port)
{
    int waiting = 0, fd = joined(SOCK_STREAM, address, port);
    double begun = now(), took, bytes = 0;
    do {
        ssize_t sent = write(fd, data, sizeof data);
        if (sent < 0)
            fail("write");
        bytes += (double)sent;
        took = now() - begun;
    } while (took < seconds);
    ioctl(fd, SIOCOUTQ, &waiting);
    printf("%.4f\n", (bytes - waiting) * 8 / took / 1e9);
}

static struct mmsghdr *messages(void)
{
    static struct iovec parts[BATCH];
    static struct mmsghdr all[BATCH];
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){data + i * SMALL, SMALL};
        all[i].msg_hdr.msg_iov = &parts[i];
        all[i].msg_hdr.msg_iovlen = 1;
    }
    return all;
}

static void drain(double seconds, int port)
{
    int fd = udp(port);
    struct mmsghdr *all = messages();
    double begun = 0, took = 0;
    long count = 0;
    struct pollfd some = {.fd = fd, .events = POLLIN};
    while (took < seconds) {
        if (poll(&some, 1, 10000) <= 0)
            break;
        int got = recvmmsg(fd, all, BATCH, MSG_DONTWAIT, NULL);
        if (got < 0)
            continue;
        if (!begun)
            begun = now();
        else
            count += got;
        took = now() - begun;
    }
    printf("%.1f\n", took > 0 ? (double)count / took : 0);
}

static void flood(double seconds, const char *address, int port)
{
    int fd = joined(SOCK_DGRAM, address, port);
    struct mmsghdr *all = messages();
    double begun = now(), took;
    long count = 0;
    do {
        int sent = sendmmsg(fd, all, BATCH, 0);
        count += sent > 0 ? sent : 0;
        took = now() - begun;
    } while (took < seconds);
    printf("%.1f\n", (double)count / took);
}

static void echo(int port)
{
    int fd = udp(port);
    for (;;) {
        struct sockaddr_in from;
        socklen_t length = sizeof from;
        ssize_t got = recvfrom(fd, data, sizeof data, 0, (void *)&from, &length);
        if (got >= 0)
            sendto(fd, data, (size_t)got, 0, (void *)&from, length);
    }
}

static void pong(double seconds, const char *address, int port)
{
    int fd = joined(SOCK_DGRAM, address, port);
    struct timeval patience = {.tv_sec = 1};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    double begun = now(), took;
    long count = 0;
    do {
        if (send(fd, data, SMALL, 0) == SMALL && recv(fd, data, sizeof data, 0) == SMALL)
            count++;
        took = now() - begun;
    } while (took < seconds);
    printf("%.1f\n", (double)count / took);
}

/* What comes is dropped once the buffer is full: arriving costs always the same. */
static void hold(int port)
{
    struct sockaddr_in at = place("0.0.0.0", port);
    int little = 1, fd = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
    if (fd < 0 || bind(fd, (void *)&at, sizeof at) < 0)
        fail("bind");
    ready();
    for (;;)
        pause();
}

static double spent(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Of wall-clock time others take their share; of CPU time only what an interrupt takes, which the least run was spared. */
static void spend(double seconds, const char *address, int port)
{
    enum { RUN = 50 };
    int fd = joined(SOCK_DGRAM, address, port);
    struct mmsghdr *all = messages();
    double begun = now(), least = 0;
    do {
        double before = spent(), each;
        long count = 0;
        for (int i = 0; i < RUN; i++) {
            int sent = sendmmsg(fd, all, BATCH, 0);
            count += sent > 0 ? sent : 0;
        }
        each = count ? (spent() - before) / (double)count : 0;
        least = !least || each < least ? each : least;
    } while (now() - begun < seconds);
    printf("%.1f\n", least);
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    if (!strcmp(verb, "serve") && argc == 4)
        serve(atoi(argv[2]), atoi(argv[3]));
    else if (!strcmp(verb, "echo") && argc == 3)
        echo(atoi(argv[2]));
    else if (!strcmp(verb, "connect") && argc == 6)
        connections(atof(argv[2]), argv[3], atoi(argv[4]), atoi(argv[5]));
    else if (!strcmp(verb, "pump") && argc == 5)
        pump(atof(argv[2]), argv[3], atoi(argv[4]));
    else if (!strcmp(verb, "drain") && argc == 4)
        drain(atof(argv[2]), atoi(argv[3]));
    else if (!strcmp(verb, "flood") && argc == 5)
        flood(atof(argv[2]), argv[3], atoi(argv[4]));
    else if (!strcmp(verb, "pong") && argc == 5)
        pong(atof(argv[2]), argv[3], atoi(argv[4]));
    else if (!strcmp(verb, "hold") && argc == 3)
        hold(atoi(argv[2]));
    else if (!strcmp(verb, "spend") && argc == 5)
        spend(atof(argv[2]), argv[3], atoi(argv[4]));
    else
        return 2;
    return 0;
}
