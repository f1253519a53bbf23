/*
 * The floor under a join: what the kernel itself asks for one container's network, and nothing else.
 *
 * The same kernel operations as a join of weft, every message packed by hand into one buffer, no allocation, no
 * parsing, no request: a namespace pinned on tmpfs, a veth pair whose peer is born inside, a bridge port, loopback,
 * address, default route, the DNS rules of the namespace, two DNS sockets, one published port (a socket that reserves
 * it, one nft map element) and one append to a log that is not synced (what a commit of SQLite's WAL costs with
 * synchronous=NORMAL).
 *
 * Runs in a network namespace of its own in which bench/floor.py has made the bridge and the nft table.
 *
 *   floor PINS LOG BRIDGE      reads "join N" and "leave N" lines, answers "NANOSECONDS" or "error ..." to each
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 8192, PEER_INDEX = 2, DNS_PORT = 40053, FIRST_PORT = 20000, ADDR_GEN_NONE = 1 };

static const char *pins;
static int log_fd, host_ns, host_rt, host_nf, bridge_index, next_index = 1000;
static uint32_t sequence;

static struct {
    int index, udp, tcp, port;
} made[MOST];

static void fail(const char *what)
{
    printf("error %s: %s\n", what, strerror(errno));
    fflush(stdout);
    exit(1);
}

/* ---- one netlink buffer: messages, attributes, nests ------------------------------------------------------------ */

static char buffer[16384] __attribute__((aligned(8)));
static size_t used;
static struct nlmsghdr *message;

static void *put(const void *data, size_t length)
{
    void *at = buffer + used;
    if (data)
        memcpy(at, data, length);
    else
        memset(at, 0, length);
    memset((char *)at + length, 0, NLMSG_ALIGN(length) - length);
    used += NLMSG_ALIGN(length);
    message->nlmsg_len = (uint32_t)(buffer + used - (char *)message);
    return at;
}

static void start(int type, int flags, const void *body, size_t length)
{
    message = (struct nlmsghdr *)(buffer + used);
    put(NULL, sizeof *message);
    message->nlmsg_type = (uint16_t)type;
    message->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    message->nlmsg_seq = ++sequence;
    put(body, length);
}

static void attr(int type, const void *data, size_t length)
{
    struct nlattr head = {.nla_len = (uint16_t)(NLA_HDRLEN + length), .nla_type = (uint16_t)type};
    put(&head, sizeof head);
    put(data, length);
}

static void attr32(int type, uint32_t value) { attr(type, &value, 4); }
static void be32(int type, uint32_t value) { attr32(type, htonl(value)); }
static void text(int type, const char *value) { attr(type, value, strlen(value) + 1); }

static struct nlattr *nest(int type)
{
    struct nlattr head = {.nla_type = (uint16_t)(type | NLA_F_NESTED)};
    return put(&head, sizeof head);
}

static void end(struct nlattr *open) { open->nla_len = (uint16_t)(buffer + used - (char *)open); }

/* Send all that was packed; wait for the acknowledgement of the last message that asked for one. */
static void transact(int fd, uint32_t last, const char *what)
{
    char answer[8192];
    if (send(fd, buffer, used, 0) < 0)
        fail(what);
    used = 0;
    for (;;) {
        ssize_t got = recv(fd, answer, sizeof answer, 0);
        if (got < 0)
            fail(what);
        size_t left = (size_t)got;
        for (struct nlmsghdr *m = (void *)answer; NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
            if (m->nlmsg_type != NLMSG_ERROR)
                continue;
            errno = -((struct nlmsgerr *)NLMSG_DATA(m))->error;
            if (errno)
                fail(what);
            if (m->nlmsg_seq == last)
                return;
        }
    }
}

static int netlink(int protocol)
{
    struct sockaddr_nl me = {.nl_family = AF_NETLINK};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (fd < 0 || bind(fd, (void *)&me, sizeof me) < 0)
        fail("netlink socket");
    return fd;
}

/* ---- links, addresses, routes ----------------------------------------------------------------------------------- */

static void no_ipv6(void)
{
    struct nlattr *spec = nest(IFLA_AF_SPEC), *inet6 = nest(AF_INET6);
    uint8_t mode = ADDR_GEN_NONE;
    attr(IFLA_INET6_ADDR_GEN_MODE, &mode, 1);
    end(inet6);
    end(spec);
}

static void set_link(int index, int flags, int up)
{
    struct ifinfomsg link = {.ifi_index = index, .ifi_flags = up ? IFF_UP : 0, .ifi_change = up ? IFF_UP : 0};
    start(RTM_SETLINK, flags, &link, sizeof link);
}

static void make_veth(int number, int index, int ns)
{
    char name[IFNAMSIZ];
    uint8_t mac[6] = {2, 0x42, 10, 201, (uint8_t)(number >> 8), (uint8_t)number};
    struct ifinfomsg link = {.ifi_index = index}, peer = {.ifi_index = PEER_INDEX};
    start(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link, sizeof link);
    snprintf(name, sizeof name, "fv-%d", index);
    text(IFLA_IFNAME, name);
    attr32(IFLA_NUM_TX_QUEUES, 1);
    attr32(IFLA_NUM_RX_QUEUES, 1);
    struct nlattr *info = nest(IFLA_LINKINFO);
    text(IFLA_INFO_KIND, "veth");
    struct nlattr *data = nest(IFLA_INFO_DATA), *other = nest(VETH_INFO_PEER);
    put(&peer, sizeof peer);
    text(IFLA_IFNAME, "eth0");
    attr(IFLA_ADDRESS, mac, 6);
    attr32(IFLA_NET_NS_FD, (uint32_t)ns);
    attr32(IFLA_NUM_TX_QUEUES, 1);
    attr32(IFLA_NUM_RX_QUEUES, 1);
    end(other);
    end(data);
    end(info);

    set_link(index, 0, 0);
    attr32(IFLA_MASTER, (uint32_t)bridge_index);
    no_ipv6();
    set_link(index, NLM_F_ACK, 1);
    transact(host_rt, sequence, "veth");
}

static void dress_namespace(int number, int fd)
{
    uint32_t address = htonl((10u << 24 | 201u << 16) + 2 + (uint32_t)number);
    uint32_t gateway = htonl(10u << 24 | 201u << 16 | 1u);
    struct ifaddrmsg in = {.ifa_family = AF_INET, .ifa_prefixlen = 16, .ifa_index = PEER_INDEX};
    struct rtmsg route = {.rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_BOOT,
                          .rtm_scope = RT_SCOPE_UNIVERSE, .rtm_type = RTN_UNICAST};
    set_link(1, 0, 1);
    set_link(PEER_INDEX, 0, 0);
    no_ipv6();
    set_link(PEER_INDEX, 0, 1);
    start(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &in, sizeof in);
    attr(IFA_LOCAL, &address, 4);
    attr(IFA_ADDRESS, &address, 4);
    start(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, &route, sizeof route);
    attr(RTA_GATEWAY, &gateway, 4);
    attr32(RTA_OIF, PEER_INDEX);
    transact(fd, sequence, "address and route");
}

/* ---- nftables --------------------------------------------------------------------------------------------------- */

static void nf_start(int type, int family, int resource, int flags)
{
    struct nfgenmsg head = {.nfgen_family = (uint8_t)family, .version = NFNETLINK_V0, .res_id = htons((uint16_t)resource)};
    start(type, flags, &head, sizeof head);
}

static void nft(int type, int flags) { nf_start(NFNL_SUBSYS_NFTABLES << 8 | type, NFPROTO_INET, 0, flags); }
static void batch(int type) { nf_start(type, AF_UNSPEC, NFNL_SUBSYS_NFTABLES, 0); }

static void value(int type, const void *data, size_t length)
{
    struct nlattr *open = nest(type);
    attr(NFTA_DATA_VALUE, data, length);
    end(open);
}

static void element(int type, int flags, int number)
{
    uint8_t key[8] = {IPPROTO_TCP}, data[8] = {0};
    uint16_t outer = htons((uint16_t)(FIRST_PORT + number)), inner = htons(80);
    uint32_t address = htonl((10u << 24 | 201u << 16) + 2 + (uint32_t)number);
    memcpy(key + 4, &outer, 2);
    memcpy(data, &address, 4);
    memcpy(data + 4, &inner, 2);

    batch(NFNL_MSG_BATCH_BEGIN);
    nft(type, flags | NLM_F_ACK);
    uint32_t last = sequence;
    text(NFTA_SET_ELEM_LIST_TABLE, "floor");
    text(NFTA_SET_ELEM_LIST_SET, "ports");
    struct nlattr *list = nest(NFTA_SET_ELEM_LIST_ELEMENTS), *one = nest(NFTA_LIST_ELEM);
    value(NFTA_SET_ELEM_KEY, key, sizeof key);
    if (type == NFT_MSG_NEWSETELEM)
        value(NFTA_SET_ELEM_DATA, data, sizeof data);
    end(one);
    end(list);
    batch(NFNL_MSG_BATCH_END);
    transact(host_nf, last, "map element");
}

static struct nlattr *expression_open[2];

static void expression(const char *name)
{
    expression_open[0] = nest(NFTA_LIST_ELEM);
    text(NFTA_EXPR_NAME, name);
    expression_open[1] = nest(NFTA_EXPR_DATA);
}

static void expression_end(void)
{
    end(expression_open[1]);
    end(expression_open[0]);
}

static void load_meta(int key)
{
    expression("meta");
    be32(NFTA_META_DREG, NFT_REG_1);
    be32(NFTA_META_KEY, (uint32_t)key);
    expression_end();
}

static void load_payload(int base, int offset, int length)
{
    expression("payload");
    be32(NFTA_PAYLOAD_DREG, NFT_REG_1);
    be32(NFTA_PAYLOAD_BASE, (uint32_t)base);
    be32(NFTA_PAYLOAD_OFFSET, (uint32_t)offset);
    be32(NFTA_PAYLOAD_LEN, (uint32_t)length);
    expression_end();
}

static void compare(int op, const void *data, size_t length)
{
    expression("cmp");
    be32(NFTA_CMP_SREG, NFT_REG_1);
    be32(NFTA_CMP_OP, (uint32_t)op);
    value(NFTA_CMP_DATA, data, length);
    expression_end();
}

/* ip {saddr|daddr} 127.0.0.11 PROTO {sport|dport} FROM PROTO {sport|dport} set TO notrack */
static void rewrite_port(int proto, int there, int from, int to)
{
    uint8_t ipv4 = NFPROTO_IPV4, l4 = (uint8_t)proto;
    uint32_t server = htonl(0x7f00000b);
    uint16_t match = htons((uint16_t)from), set = htons((uint16_t)to);
    int port = there ? 2 : 0, checksum = proto == IPPROTO_TCP ? 16 : 6;

    nft(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
    text(NFTA_RULE_TABLE, "weft");
    text(NFTA_RULE_CHAIN, "dns");
    struct nlattr *list = nest(NFTA_RULE_EXPRESSIONS);
    load_meta(NFT_META_NFPROTO);
    compare(NFT_CMP_EQ, &ipv4, 1);
    load_payload(NFT_PAYLOAD_NETWORK_HEADER, there ? 16 : 12, 4);
    compare(NFT_CMP_EQ, &server, 4);
    load_meta(NFT_META_L4PROTO);
    compare(NFT_CMP_EQ, &l4, 1);
    load_payload(NFT_PAYLOAD_TRANSPORT_HEADER, port, 2);
    compare(NFT_CMP_EQ, &match, 2);
    expression("immediate");
    be32(NFTA_IMMEDIATE_DREG, NFT_REG_1);
    value(NFTA_IMMEDIATE_DATA, &set, 2);
    expression_end();
    expression("payload");
    be32(NFTA_PAYLOAD_SREG, NFT_REG_1);
    be32(NFTA_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER);
    be32(NFTA_PAYLOAD_OFFSET, (uint32_t)port);
    be32(NFTA_PAYLOAD_LEN, 2);
    be32(NFTA_PAYLOAD_CSUM_TYPE, NFT_PAYLOAD_CSUM_INET);
    be32(NFTA_PAYLOAD_CSUM_OFFSET, (uint32_t)checksum);
    be32(NFTA_PAYLOAD_CSUM_FLAGS, 0);
    expression_end();
    expression("notrack");
    expression_end();
    end(list);
}

/* iifname != "lo" meta nfproto ipv6 drop */
static void refuse_ipv6(int flags)
{
    char lo[IFNAMSIZ] = "lo";
    uint8_t ipv6 = NFPROTO_IPV6;
    nft(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND | flags);
    text(NFTA_RULE_TABLE, "weft");
    text(NFTA_RULE_CHAIN, "ipv6");
    struct nlattr *list = nest(NFTA_RULE_EXPRESSIONS);
    load_meta(NFT_META_IIFNAME);
    compare(NFT_CMP_NEQ, lo, sizeof lo);
    load_meta(NFT_META_NFPROTO);
    compare(NFT_CMP_EQ, &ipv6, 1);
    expression("immediate");
    be32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    struct nlattr *data = nest(NFTA_IMMEDIATE_DATA), *verdict = nest(NFTA_DATA_VERDICT);
    be32(NFTA_VERDICT_CODE, NF_DROP);
    end(verdict);
    end(data);
    expression_end();
    end(list);
}

static void chain(const char *name, int hook, int priority)
{
    nft(NFT_MSG_NEWCHAIN, NLM_F_CREATE);
    text(NFTA_CHAIN_TABLE, "weft");
    text(NFTA_CHAIN_NAME, name);
    struct nlattr *open = nest(NFTA_CHAIN_HOOK);
    be32(NFTA_HOOK_HOOKNUM, (uint32_t)hook);
    be32(NFTA_HOOK_PRIORITY, (uint32_t)priority);
    end(open);
    text(NFTA_CHAIN_TYPE, "filter");
}

static void namespace_rules(int fd)
{
    batch(NFNL_MSG_BATCH_BEGIN);
    nft(NFT_MSG_NEWTABLE, NLM_F_CREATE);
    text(NFTA_TABLE_NAME, "weft");
    chain("dns", NF_INET_LOCAL_OUT, -300);
    for (int i = 0; i < 2; i++) {
        int proto = i ? IPPROTO_TCP : IPPROTO_UDP;
        rewrite_port(proto, 1, 53, DNS_PORT);
        rewrite_port(proto, 0, DNS_PORT, 53);
    }
    chain("ipv6", NF_INET_PRE_ROUTING, -300);
    refuse_ipv6(NLM_F_ACK);
    uint32_t last = sequence;
    batch(NFNL_MSG_BATCH_END);
    transact(fd, last, "rules of the namespace");
}

/* ---- sockets, the log, namespaces ------------------------------------------------------------------------------- */

static int bound(int type, uint32_t address, int port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(address)};
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (void *)&at, sizeof at) < 0)
        fail("socket");
    return fd;
}

static void append(int number)
{
    static char frame[4096 + 24]; /* a page and its frame header: the least that SQLite's log takes */
    memcpy(frame, &number, sizeof number);
    if (write(log_fd, frame, sizeof frame) != sizeof frame)
        fail("log");
}

static void pin_path(char *path, size_t length, int number) { snprintf(path, length, "%s/%d", pins, number); }

static void join(int number)
{
    char path[256];
    pin_path(path, sizeof path, number);
    made[number].port = bound(SOCK_STREAM, INADDR_ANY, FIRST_PORT + number);
    append(number);

    int pin = open(path, O_CREAT | O_EXCL | O_RDONLY | O_CLOEXEC, 0444);
    if (pin < 0 || close(pin) < 0 || unshare(CLONE_NEWNET) < 0)
        fail("namespace");
    if (mount("/proc/thread-self/ns/net", path, NULL, MS_BIND, NULL) < 0)
        fail("pin");
    int ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    int rt = netlink(NETLINK_ROUTE), nf = netlink(NETLINK_NETFILTER);
    namespace_rules(nf);

    if (setns(host_ns, CLONE_NEWNET) < 0)
        fail("setns");
    made[number].index = next_index++;
    make_veth(number, made[number].index, ns);
    dress_namespace(number, rt);
    element(NFT_MSG_NEWSETELEM, NLM_F_CREATE, number);

    /* Loopback is up only now, so the name server's sockets are bound last; sockets belong to the namespace they
       were made in. */
    if (setns(ns, CLONE_NEWNET) < 0)
        fail("setns");
    made[number].udp = bound(SOCK_DGRAM, 0x7f00000b, DNS_PORT);
    made[number].tcp = bound(SOCK_STREAM, 0x7f00000b, DNS_PORT);
    if (listen(made[number].tcp, 64) < 0 || setns(host_ns, CLONE_NEWNET) < 0)
        fail("name server");
    close(rt);
    close(nf);
    close(ns);
}

static void leave(int number)
{
    char path[256];
    pin_path(path, sizeof path, number);
    append(number);
    element(NFT_MSG_DELSETELEM, 0, number);
    set_link(made[number].index, NLM_F_ACK, 0);
    attr32(IFLA_MASTER, 0);
    transact(host_rt, sequence, "leave the bridge");
    close(made[number].udp);
    close(made[number].tcp);
    close(made[number].port);
    if (umount2(path, MNT_DETACH) < 0 || unlink(path) < 0)
        fail("unpin");
}

int main(int argc, char **argv)
{
    char verb[16];
    int number;
    if (argc != 4)
        return 2;
    pins = argv[1];
    log_fd = open(argv[2], O_CREAT | O_APPEND | O_WRONLY | O_CLOEXEC, 0600);
    host_ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    bridge_index = (int)if_nametoindex(argv[3]);
    if (log_fd < 0 || host_ns < 0 || !bridge_index)
        fail("start");
    host_rt = netlink(NETLINK_ROUTE);
    host_nf = netlink(NETLINK_NETFILTER);

    while (scanf("%15s %d", verb, &number) == 2) {
        struct timespec before, after;
        if (number < 0 || number >= MOST)
            return 2;
        clock_gettime(CLOCK_MONOTONIC, &before);
        if (!strcmp(verb, "join"))
            join(number);
        else
            leave(number);
        clock_gettime(CLOCK_MONOTONIC, &after);
        printf("%lld\n", (after.tv_sec - before.tv_sec) * 1000000000LL + after.tv_nsec - before.tv_nsec);
        fflush(stdout);
    }
    return 0;
}
