"""What `bench/run` prints, read back; and what is to be reached."""
import collections

# case, variant, peer, title, at least, aim: a ratio to the peer, or (peer None) our own figure, at
# most. `more` is what a figure in letters and the like is called in the chart.
Goal = collections.namedtuple("Goal", "case variant peer title least aim")

GOALS = [Goal(*row) for row in (
    ("accept", "c1/4KiB", "postfix", "accept, durable, 1 session, 4 KiB", 4, 6),
    ("accept", "c20/4KiB", "postfix", "accept, durable, 20 sessions, 4 KiB", 10, 15),
    ("accept", "c100/4KiB", "postfix", "accept, durable, 100 sessions, 4 KiB", 15, 20),
    ("accept", "c20/1MiB", "postfix", "accept, durable, 20 sessions, 1 MiB", 3, 4),
    ("deliver", "c20/4KiB", "postfix", "accept to Maildir", 4, 8),
    ("relay", "plain/4KiB", "postfix", "relay, plain", 12, 20),
    ("relay", "tls/4KiB", "postfix", "relay, TLS", 8, 15),
    ("tls", "ecdsa/full", "openssl", "full handshakes, P-256", 0.75, 0.9),
    ("tls", "rsa/full", "openssl", "full handshakes, RSA 2048", 0.75, 0.9),
    ("tls", "ecdsa/resumed", "openssl", "resumed handshakes", 0.75, 0.9),
    ("idle", "tls", None, "memory of an idle TLS session", 32, 20),
    ("base", "start", None, "start to the first banner", 100, 50),
)]

Figure = collections.namedtuple("Figure", "value unit low high")


def read(lines):
    """({(case, variant, name): Figure}, {(case, variant, peer): ratio}) of the lines of a run;
    other lines are passed over."""
    figures, ratios = {}, {}
    for line in lines:
        w = line.split()
        if len(w) == 5 and w[0] == "ratio":
            ratios[tuple(w[1:4])] = float(w[4])
        elif len(w) == 6 and ".." in w[5] and not line.startswith("#"):
            low, high = w[5].split("..")
            figures[tuple(w[:3])] = Figure(float(w[3]), w[4], float(low), float(high))
    return figures, ratios


def number(x):
    """For people: three digits that count, thousands apart."""
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.1f}" if abs(x) >= 10 else f"{x:.2f}"


def reached(goal, value):
    """'aim', 'yes' or 'no'."""
    better = (lambda a, b: a >= b) if goal.peer else (lambda a, b: a <= b)
    return "aim" if better(value, goal.aim) else "yes" if better(value, goal.least) else "no"
