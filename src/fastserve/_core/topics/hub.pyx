"""The topics of one event loop, and the connections that are subscribed to them.

A message is delivered by putting a reference to it into the ring of each subscriber, which writes what it has after the
turn's responses, with one system call. While its client does not read, the ring fills up to the bounds of the hub; what
is done then is up to each subscription, for its own messages alone.

walking   A topic that delivers does not move its members: one that leaves meanwhile leaves a hole, one that joins is put at
          the end and gets the next message first.
ended     A subscriber has neither channel nor stream any more, no member in a topic, and an empty ring.
"""
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy

from ..counters cimport live_counts
from ..interfaces cimport Channel, Pending, Stream, Subscribing
from ..loop.turn cimport loop_of_thread
from ..python cimport PyDict_GetItemWithError, PyObject, Py_DECREF, Py_INCREF
from ..threads cimport fastserve_count
from ..worker cimport Worker
from .message cimport Comment, Message, make_message

cdef enum:
    PIECE = 16384  # bytes of small messages that are put together for one write
    MOST_TOPICS = 256  # of a connection
    FIRST_CAPACITY = 2
    # How far ahead of the member that is dealt with the memory of others is fetched, by each of the pointers to it.
    AHEAD = 12
    AHEAD_NEXT = 8
    AHEAD_LAST = 4

cdef extern from "memory/prefetch.h":
    void fastserve_prefetch(const void* object) nogil
    void fastserve_prefetch_all(const void* object) nogil

cdef dict POLICIES = {"close": CLOSE, "oldest": OLDEST, "latest": LATEST}
cdef Comment COMMENT = Comment()


def running_loop():
    """Return what asyncio._get_running_loop() does, which makes a system call before CPython 3.12."""
    return loop_of_thread()


cdef class Hub:
    """The topics of one event loop; it is used in its thread alone.

    `changed` is called with a name and True when a topic gets its first subscriber, and with False when it has lost its
    last; `gone` with a connection that has ended, if it has a key. `queue` messages or `queue_size` bytes may wait for a
    client that does not read. publish() needs its loop, and takes up to `max_size` bytes.
    """

    def __init__(
        self, changed=None, Py_ssize_t queue=256, Py_ssize_t queue_size=1 << 20, gone=None, *, loop=None, Py_ssize_t max_size=1 << 20
    ):
        self.topics = {}
        self.changed = changed
        self.gone = gone
        self.loop = loop
        self.max_size = max_size
        self.queue = queue
        self.queue_size = queue_size

    cdef Topic topic_of(self, str name):
        cdef Topic topic = self.topics.get(name)
        if topic is None:
            topic = Topic.__new__(Topic)
            topic.name = name
            self.topics[name] = topic
            if self.changed is not None:
                self.changed(name, True)
        return topic

    cdef int drop_deserted(self, Topic topic) except -1:
        if topic.deserted() and self.topics.get(topic.name) is topic:
            del self.topics[topic.name]
            if self.changed is not None:
                self.changed(topic.name, False)
        return 0

    def publish(self, name, data):
        """Deliver what was published without options, if the hub's loop runs here and has subscribers of the topic.

        Return false, having done nothing, where that is not so or there is more to check.
        """
        cdef PyObject* found
        cdef Topic topic
        cdef Message message
        if self.loop is None or loop_of_thread() is not self.loop:
            return False
        if type(name) is not str or type(data) is not str and type(data) is not bytes:
            return False
        found = PyDict_GetItemWithError(self.topics, name)
        if found == NULL:
            return False
        topic = <Topic>found
        message = make_message(<str>name, data, None, None)
        if message.size > self.max_size:
            return False
        self.published += 1
        topic.deliver(message, 0)
        return True

    def deliver(self, Message message not None, Py_ssize_t exclude=0):
        """Have all subscribers get the message, but for the one of this number."""
        cdef Topic topic = self.topics.get(message.topic)
        if topic is not None:
            topic.deliver(message, exclude)

    def gap(self, str name not None):
        """Tell all subscribers of a topic that messages of it are lost."""
        cdef Topic topic = self.topics.get(name)
        cdef Member member
        cdef Py_ssize_t at
        if topic is None:
            return
        topic.walking += 1
        try:
            for at in range(topic.count):
                if topic.members[at] != NULL:
                    member = <Member>topic.members[at]
                    if member.early is not None and member.early.held is not None:
                        member.early.held.append(None)
                    else:
                        member.hear_gap()
            for listener in list(topic.listeners or ()):
                listener(None, 0)
        finally:
            topic.walking -= 1
            topic.close_holes()

    def listen(self, str name not None, listener):
        """Call `listener` with each message of a topic and the number of the subscriber that it is not for.

        None in place of a message stands for messages that are lost.
        """
        cdef Topic topic = self.topic_of(name)
        topic.listeners = [*(topic.listeners or ()), listener]

    def unlisten(self, str name not None, listener):
        """Undo listen()."""
        cdef Topic topic = self.topics.get(name)
        if topic is not None and topic.listeners and listener in topic.listeners:
            topic.listeners = [each for each in topic.listeners if each != listener]
            self.drop_deserted(topic)

    def count(self, str name not None):
        """Return how many subscribers a topic has here."""
        cdef Topic topic = self.topics.get(name)
        return 0 if topic is None else topic.count - topic.holes + len(topic.listeners or ())

    def new_number(self):
        """Return a number for a subscriber that is not a connection of this core."""
        self.last += 1
        return self.last


cdef class Topic:
    def __dealloc__(self):
        cdef Py_ssize_t at
        for at in range(self.count):
            if self.members[at] != NULL:
                Py_DECREF(<object>self.members[at])
        free(self.members)

    cdef bint deserted(self) noexcept:
        return self.count == self.holes and not self.listeners

    cdef int join(self, Member member) except -1:
        cdef Py_ssize_t capacity
        cdef PyObject** members
        if self.count == self.capacity:
            capacity = self.capacity * 2 or 4
            members = <PyObject**>realloc(self.members, capacity * sizeof(PyObject*))
            if members == NULL:
                raise MemoryError
            self.members = members
            self.capacity = capacity
        Py_INCREF(member)
        member.index = self.count
        self.members[self.count] = <PyObject*>member
        self.count += 1
        return 0

    cdef int leave(self, Member member) except -1:
        cdef Py_ssize_t at = member.index
        if self.walking:
            self.members[at] = NULL
            self.holes += 1
        else:
            self.count -= 1
            self.members[at] = self.members[self.count]
            (<Member>self.members[at]).index = at
        Py_DECREF(member)
        return 0

    cdef int deliver(self, Message message, Py_ssize_t exclude) except -1:
        cdef Py_ssize_t at, count = self.count
        cdef Member member
        self.walking += 1
        try:
            for at in range(count):
                if self.members[at] == NULL:
                    continue
                if at + AHEAD < count:
                    self.fetch(at)
                member = <Member>self.members[at]
                if exclude == 0 or member.subscriber.number != exclude:
                    member.take(message)
            if self.listeners:
                for listener in self.listeners:
                    listener(message, exclude)
        finally:
            self.walking -= 1
            self.close_holes()
        return 0

    cdef void fetch(self, Py_ssize_t at) noexcept:
        """Have the memory fetched of the members after `at`, of which there are AHEAD."""
        fastserve_prefetch(self.members[at + AHEAD])
        if self.members[at + AHEAD_NEXT] != NULL:
            fastserve_prefetch_all(<PyObject*>(<Member>self.members[at + AHEAD_NEXT]).subscriber)
        if self.members[at + AHEAD_LAST] != NULL and (<Member>self.members[at + AHEAD_LAST]).subscriber is not None:
            fastserve_prefetch((<Member>self.members[at + AHEAD_LAST]).subscriber.ring)

    cdef void close_holes(self) noexcept:
        cdef Py_ssize_t at, kept = 0
        if self.walking or self.holes == 0:
            return
        for at in range(self.count):
            if self.members[at] != NULL:
                self.members[kept] = self.members[at]
                (<Member>self.members[kept]).index = kept
                kept += 1
        self.count = kept
        self.holes = 0


cdef class Member:
    cdef int begin(self, object worker, Stream stream, Channel channel) except -1:
        raise RuntimeError("a member does not begin")

    cdef int take(self, Message message) except -1:
        if self.early is not None:
            if self.early.held is not None:
                self.early.held.append(message)
                return 0
            if not self.is_new(message):
                return 0
        return self.subscriber.push(self, message.in_json() if self.in_json else message)

    cdef bint is_new(self, Message message) except -1:
        """Whether the history, which may be ahead of what is delivered, has not given this message already."""
        if message.id is None:
            return True
        if not self.early.after(message):
            return False
        self.early = None
        return True

    cdef Message gap(self):
        cdef Subscription subscription = self.subscription if self.subscription is not None else <Subscription>self
        return None if subscription.extra is None else subscription.extra.gap

    cdef int hear_gap(self) except -1:
        """Tell the client that messages are lost."""
        cdef Message gap
        if self.subscriber is None:
            return 0
        self.subscriber.hub.gaps += 1
        gap = self.gap()
        return 0 if gap is None else self.subscriber.push(self, gap)


cdef class Subscription(Member):
    """What a connection of the hub's loop subscribes with, once: `names` are topics.

    `slow` is close, oldest or latest. `gap` is the Message that stands for messages which its client does not get.
    `end_noted` is called when it ends. With `recovers`, messages wait until recovered() is called for their topic. An event
    stream is written to every `keepalive` seconds at least.
    """

    def __init__(
        self, Hub hub not None, tuple names not None, *, str slow="close", Message gap=None, bint in_json=False, bint recovers=False,
        end_noted=None, double keepalive=0,
    ):
        if slow not in POLICIES:
            raise ValueError(f"slow: expected {', '.join(POLICIES)}, not {slow!r}")
        self.extra = Extra.__new__(Extra)
        self.extra.hub = hub
        self.extra.names = names
        self.extra.gap = gap
        self.extra.end_noted = end_noted
        self.extra.keepalive = keepalive
        self.slow = POLICIES[slow]
        self.in_json = in_json
        self.recovers = recovers

    cdef int begin(self, object worker, Stream stream, Channel channel) except -1:
        cdef Subscriber subscriber
        cdef Member member
        cdef Extra extra = self.extra
        cdef Hub hub
        if self.has_begun:
            raise RuntimeError("a subscription is for one connection")
        hub = extra.hub
        subscriber = Subscriber.__new__(Subscriber)
        subscriber = channel.attach(subscriber) if channel is not None else stream.attach(subscriber)
        if subscriber.hub is None:
            hub.last += 1
            subscriber.number = hub.last
            subscriber.hub = hub
            subscriber.turn = (<Worker>worker).turn
            subscriber.channel = channel
            subscriber.stream = stream
        if subscriber.topics + len(extra.names) > MOST_TOPICS:
            raise ValueError(f"a connection can have {MOST_TOPICS} topics")
        self.has_begun = True
        self.following, subscriber.subscriptions = subscriber.subscriptions, self
        subscriber.topics += len(extra.names)
        hub.subscriptions += len(extra.names)
        if len(extra.names) == 1:
            self.join(self, extra.names[0], subscriber)
        else:
            self.subscriber = subscriber
            extra.members = []
            for name in extra.names:
                member = Member.__new__(Member)
                member.subscription = self
                extra.members.append(member)
                self.join(member, name, subscriber)
        if stream is not None and extra.keepalive > 0:
            subscriber.keep_alive((<Worker>worker).loop, extra.keepalive)
        extra.hub = None
        extra.names = None
        if extra.members is None and extra.gap is None and extra.end_noted is None:
            self.extra = None
        return 0

    cdef int join(self, Member member, str name, Subscriber subscriber) except -1:
        member.topic = subscriber.hub.topic_of(name)
        member.subscriber = subscriber
        member.in_json = self.in_json
        member.slow = self.slow
        if self.recovers:
            member.early = Early.__new__(Early)
            member.early.held = []
        return member.topic.join(member)

    cdef list all_members(self):
        if self.extra is not None and self.extra.members is not None:
            return self.extra.members
        return [self] if self.topic is not None else []

    @property
    def began(self):
        """Whether a connection has it, or had it."""
        return bool(self.has_begun)

    @property
    def active(self):
        """Whether its connection gets messages."""
        return self.subscriber is not None

    @property
    def number(self):
        """The number of its connection, 0 once it has ended."""
        return 0 if self.subscriber is None else self.subscriber.number

    @property
    def connection(self):
        """The Subscriber that it is of, None before and after."""
        return self.subscriber

    def note_end(self, noted):
        """Call `noted` when it ends."""
        if self.extra is None:
            self.extra = Extra.__new__(Extra)
        self.extra.end_noted = noted

    def recovered(self, str name not None, list messages not None, bint complete, after=None):
        """Deliver what a topic had before, and what came meanwhile. Without `complete` there is a gap before it.

        `after` says whether a message with an id, of those that came meanwhile or come later, is not among `messages`.
        """
        cdef Member member
        cdef list held
        for member in self.all_members():
            if member.topic is None or member.topic.name != name or member.early is None or member.early.held is None:
                continue
            held, member.early = member.early.held, None
            if not complete:
                member.hear_gap()
            for message in messages:
                if member.subscriber is not None:
                    member.take(message)
            if after is not None:
                member.early = Early.__new__(Early)
                member.early.after = after
            for message in held:
                if member.subscriber is None:
                    break
                if message is None:
                    member.hear_gap()
                else:
                    member.take(message)
            return

    def cancel(self):
        """End the subscription; its connection gets nothing more of it."""
        cdef Subscriber subscriber = self.subscriber
        cdef Subscription each
        if subscriber is None:
            return
        for member in self.all_members():
            subscriber.forget(<Member>member)
        if subscriber.subscriptions is self:
            subscriber.subscriptions = self.following
        else:
            each = subscriber.subscriptions
            while each.following is not self:
                each = each.following
            each.following = self.following
        self.following = None
        self.end()

    cdef int end(self) except -1:
        cdef Member member
        cdef Hub hub = self.subscriber.hub
        cdef Subscriber subscriber = self.subscriber
        cdef list members = self.all_members()
        cdef Extra extra
        extra, self.extra = self.extra, None
        self.subscriber = None
        subscriber.topics -= len(members)
        hub.subscriptions -= len(members)
        for member in members:
            member.subscriber = None
            topic, member.topic = member.topic, None
            (<Topic>topic).leave(member)
            hub.drop_deserted(<Topic>topic)
        if extra is not None and extra.end_noted is not None:
            extra.end_noted()
        return 0


cdef class Subscriber(Pending):
    def __cinit__(self):
        fastserve_count(&live_counts.subscriber, 1)

    def __dealloc__(self):
        self.clear()
        free(self.ring)
        fastserve_count(&live_counts.subscriber, -1)

    cdef bint has_ended(self) noexcept:
        return self.channel is None and self.stream is None

    cdef bint must_wait(self) noexcept:
        return self.channel.must_wait() if self.channel is not None else self.stream.must_wait()

    cdef bint broken(self) noexcept:
        return self.channel.broken() if self.channel is not None else self.stream.broken()

    # What it has yet to write

    cdef int push(self, Member member, Message message) except -1:
        cdef Hub hub = self.hub
        if self.has_ended():
            return 0
        if self.count and (self.count >= hub.queue or self.size + message.size > hub.queue_size):
            if not self.must_wait():
                self.flush()  # there are very many in one turn
            if self.count and (self.count >= hub.queue or self.size + message.size > hub.queue_size):
                if self.make_room(member, message) or self.has_ended():
                    return 0
        if member.slow == LATEST and self.count and self.must_wait():
            self.forget(member)
        self.append(member, message)
        return self.turn.hold_shared(self)

    cdef int append(self, Member member, Message message) except -1:
        cdef int capacity, until_end
        cdef Entry* ring
        cdef Entry* entry
        if self.count == self.capacity:
            capacity = self.capacity * 2 or FIRST_CAPACITY
            ring = <Entry*>malloc(capacity * sizeof(Entry))
            if ring == NULL:
                raise MemoryError
            until_end = self.capacity - self.first
            if self.count:
                memcpy(ring, self.ring + self.first, until_end * sizeof(Entry))
                memcpy(ring + until_end, self.ring, (self.count - until_end) * sizeof(Entry))
            free(self.ring)
            self.ring = ring
            self.first = 0
            self.capacity = capacity
        entry = &self.ring[(self.first + self.count) & (self.capacity - 1)]
        Py_INCREF(message)
        entry.message = <PyObject*>message
        entry.member = <PyObject*>member
        self.count += 1
        self.size += message.size
        self.hub.queued_size += message.size
        return 0

    cdef int make_room(self, Member member, Message message) except -1:
        """Do as the subscription says with a message that the ring has no room for; true where that is dealt with."""
        cdef Hub hub = self.hub
        cdef Message gap = member.gap()
        cdef Py_ssize_t at
        cdef Entry* entry
        if member.slow == CLOSE:
            hub.closed += 1
            hub.dropped += self.count + 1
            self.clear()
            self.cut()
            return 1
        if member.slow == LATEST:
            self.forget(member)
            if self.count < hub.queue and (self.count == 0 or self.size + message.size <= hub.queue_size):
                return 0
            hub.dropped += 1
            return 1
        at = self.find(member, 0)
        if gap is not None:
            hub.gaps += 1
            if at >= 0 and self.ring[(self.first + at) & (self.capacity - 1)].message != <PyObject*>gap:
                entry = &self.ring[(self.first + at) & (self.capacity - 1)]
                hub.dropped += 1
                self.size += gap.size - (<Message>entry.message).size
                hub.queued_size += gap.size - (<Message>entry.message).size
                Py_DECREF(<object>entry.message)
                Py_INCREF(gap)
                entry.message = <PyObject*>gap
            at = self.find(member, at + 1) if at >= 0 else -1
        while at >= 0 and (self.count >= hub.queue or self.size + message.size > hub.queue_size):
            self.remove(at)
            hub.dropped += 1
            at = self.find(member, at)
        if self.count < hub.queue and (self.count == 0 or self.size + message.size <= hub.queue_size):
            return 0
        hub.dropped += 1  # what else there is belongs to other subscriptions
        return 1

    cdef Py_ssize_t find(self, Member member, Py_ssize_t start) noexcept:
        """Return where the next message of this member is, or -1."""
        while start < self.count:
            if self.ring[(self.first + start) & (self.capacity - 1)].member == <PyObject*>member:
                return start
            start += 1
        return -1

    cdef void remove(self, Py_ssize_t at) noexcept:
        cdef Py_ssize_t mask = self.capacity - 1
        cdef PyObject* message = self.ring[(self.first + at) & mask].message
        while at:
            self.ring[(self.first + at) & mask] = self.ring[(self.first + at - 1) & mask]
            at -= 1
        self.first = (self.first + 1) & mask
        self.count -= 1
        self.size -= (<Message>message).size
        self.hub.queued_size -= (<Message>message).size
        Py_DECREF(<object>message)

    cdef void forget(self, Member member) noexcept:
        """Drop what there is of a member."""
        cdef Py_ssize_t at = self.find(member, 0)
        while at >= 0:
            self.remove(at)
            self.hub.dropped += 1
            at = self.find(member, at)

    cdef void clear(self) noexcept:
        while self.count:
            self.remove(0)

    # Writing

    cdef int pour(self, bint everything) except -1:
        cdef Py_ssize_t put = 0
        if self.has_ended():
            return 0
        while self.count and (everything or not self.must_wait()):
            put += (<Message>self.ring[self.first].message).size
            self.put_first(False)
            if put >= PIECE:
                put = 0
                self.write()
                if self.has_ended():
                    return 0
        return 0

    cdef int put_first(self, bint alone) except -1:
        cdef Message message = <Message>self.ring[self.first].message
        Py_DECREF(message)  # which the ring has owned
        self.first = (self.first + 1) & (self.capacity - 1)
        self.count -= 1
        self.size -= message.size
        self.hub.queued_size -= message.size
        self.hub.delivered += 1
        self.wrote = True
        if self.channel is not None:
            return self.channel.put_shared(message, alone)
        return self.stream.put_shared(message, alone)

    cdef int write(self) except -1:
        return self.channel.commit_shared() if self.channel is not None else self.stream.commit_shared()

    cdef int cut(self) except -1:
        if self.channel is not None:
            return self.channel.cut()
        return 0 if self.stream is None else self.stream.cut()

    cdef void flush(self) noexcept:
        try:
            if self.has_ended() or self.count == 0 or self.must_wait():
                return
            if self.broken():
                self.clear()
                return
            if self.count == 1:
                self.put_first(True)
            else:
                self.pour(False)
            if not self.has_ended():
                self.write()
        except Exception:
            self.clear()
            self.cut()
            raise  # reported by the interpreter's hook for errors that nobody can catch

    cdef void fetch(self, bint again) noexcept:
        if again:
            if self.channel is not None:
                self.channel.fetch_shared()
            elif self.stream is not None:
                self.stream.fetch_shared()
            return
        fastserve_prefetch(self.ring)
        if self.channel is not None:
            fastserve_prefetch_all(<PyObject*>self.channel)
        else:
            fastserve_prefetch_all(<PyObject*>self.stream)

    cdef int ended(self) noexcept:
        cdef Subscription each
        if self.has_ended():
            return 0
        self.clear()
        self.channel = None
        self.stream = None
        if self.keeping is not None:
            self.keeping.timer.cancel()
            self.keeping = None
        while self.subscriptions is not None:
            each = self.subscriptions
            self.subscriptions, each.following = each.following, None
            each.end()
        if self.key is not None and self.hub.gone is not None:
            self.hub.gone(self)
        self.key = None
        return 0

    def known_by(self, key):
        """Take a key, with which the hub's `gone` is called when the connection ends; return false if it has another."""
        if self.has_ended() or self.key is not None:
            return self.key is not None and self.key == key
        self.key = key
        return True

    # Keeping a stream alive

    cdef int keep_alive(self, object loop, double seconds) except -1:
        if self.keeping is None:
            self.keeping = KeepAlive.__new__(KeepAlive)
            self.keeping.loop = loop
        else:
            self.keeping.timer.cancel()
        self.keeping.seconds = seconds
        return self.start_timer()

    cdef int start_timer(self) except -1:
        self.keeping.timer = self.keeping.loop.call_later(self.keeping.seconds, self.alive)
        self.wrote = False
        return 0

    def alive(self):
        """Write a comment to a stream that nothing was written to for a while."""
        if self.stream is None:
            return
        if not self.wrote and not self.must_wait() and not self.broken():
            self.stream.put_shared(COMMENT, True)
            self.write()
        if self.stream is not None:
            self.start_timer()
