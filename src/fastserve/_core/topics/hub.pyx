"""The topics of one event loop, and the connections that are subscribed to them.

A message is delivered by putting a reference to it into the ring of each subscriber, which writes what it has after the
turn's responses, with one system call. While its client does not read, the ring fills up to the bounds of the hub; what
is done then is up to each subscription, for its own messages alone.

walking   A topic that delivers does not move its members: one that leaves meanwhile leaves a hole, one that joins is put at
          the end and gets the next message first.
ended     A subscriber has neither channel nor stream any more, no member in a topic, and an empty ring.
"""
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy

from ..counters cimport live_counts
from ..interfaces cimport Channel, Pending, Stream, Subscribing
from ..worker cimport Worker
from .message cimport Comment, Message

cdef enum:
    PIECE = 16384  # bytes of small messages that are put together for one write
    MOST_TOPICS = 256  # of a connection
    FIRST_CAPACITY = 4
    AHEAD = 8  # members whose memory is fetched before they are dealt with

cdef extern from "memory/prefetch.h":
    void fastserve_prefetch(const void* object) nogil

cdef dict POLICIES = {"close": CLOSE, "oldest": OLDEST, "latest": LATEST}
cdef Comment COMMENT = Comment()


cdef class Hub:
    """The topics of one event loop; it is used in its thread alone.

    `changed` is called with a name and True when a topic gets its first subscriber, and with False when it has lost its
    last. `queue` messages or `queue_size` bytes may wait for a client that does not read.
    """

    def __init__(self, changed=None, Py_ssize_t queue=256, Py_ssize_t queue_size=1 << 20):
        self.topics = {}
        self.changed = changed
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

    def drop_deserted(self, Topic topic not None):
        if topic.deserted() and self.topics.get(topic.name) is topic:
            del self.topics[topic.name]
            if self.changed is not None:
                self.changed(topic.name, False)

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
                    if member.held is not None:
                        member.held.append(None)
                    else:
                        member.subscription.tell_gap(member)
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
                    fastserve_prefetch(self.members[at + AHEAD])
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
    cdef int take(self, Message message) except -1:
        if self.held is not None:
            self.held.append(message)
            return 0
        if self.after is not None and not self.is_new(message):
            return 0
        return self.subscriber.push(self, message.in_json() if self.in_json else message)


    cdef bint is_new(self, Message message) except -1:
        """Whether the history, which may be ahead of what is delivered, has not given this message already."""
        if message.id is None:
            return True
        if not self.after(message):
            return False
        self.after = None
        return True


cdef class Subscription(Subscribing):
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
        self.hub = hub
        self.names = names
        self.slow = POLICIES[slow]
        self.gap = gap
        self.in_json = in_json
        self.recovers = recovers
        self.end_noted = end_noted
        self.keepalive = keepalive

    cdef int begin(self, object worker, Stream stream, Channel channel) except -1:
        cdef Subscriber subscriber
        cdef Member member
        cdef Topic topic
        if self.began:
            raise RuntimeError("a subscription is for one connection")
        subscriber = Subscriber.__new__(Subscriber)
        subscriber = channel.attach(subscriber) if channel is not None else stream.attach(subscriber)
        if subscriber.hub is None:
            self.hub.last += 1
            subscriber.number = self.hub.last
            subscriber.hub = self.hub
            subscriber.turn = (<Worker>worker).turn
            subscriber.loop = (<Worker>worker).loop
            subscriber.channel = channel
            subscriber.stream = stream
            subscriber.subscriptions = []
        if subscriber.topics + len(self.names) > MOST_TOPICS:
            raise ValueError(f"a connection can have {MOST_TOPICS} topics")
        self.began = True
        self.subscriber = subscriber
        self.members = []
        subscriber.subscriptions.append(self)
        subscriber.topics += len(self.names)
        self.hub.subscriptions += len(self.names)
        for name in self.names:
            topic = self.hub.topic_of(name)
            member = Member.__new__(Member)
            member.topic = topic
            member.subscription = self
            member.subscriber = subscriber
            member.in_json = self.in_json
            member.slow = self.slow
            if self.recovers:
                member.held = []
            topic.join(member)
            self.members.append(member)
        if stream is not None and self.keepalive > 0:
            subscriber.keepalive = self.keepalive
            subscriber.start_timer()
        return 0

    @property
    def active(self):
        """Whether its connection gets messages."""
        return self.subscriber is not None

    @property
    def number(self):
        """The number of its connection, 0 once it has ended."""
        return 0 if self.subscriber is None else self.subscriber.number

    def recovered(self, str name not None, list messages not None, bint complete, after=None):
        """Deliver what a topic had before, and what came meanwhile. Without `complete` there is a gap before it.

        `after` says whether a message with an id, of those that came meanwhile or come later, is not among `messages`.
        """
        cdef Member member
        for member in self.members or ():
            if member.topic.name != name or member.held is None:
                continue
            held, member.held = member.held, None
            if not complete:
                self.tell_gap(member)
            for message in messages:
                if self.subscriber is not None:
                    member.take(message)
            member.after = after
            for message in held:
                if self.subscriber is None:
                    break
                if message is None:
                    self.tell_gap(member)
                else:
                    member.take(message)
            return

    def tell_gap(self, Member member not None):
        self.hub.gaps += 1
        if self.gap is not None and self.subscriber is not None:
            self.subscriber.push(member, self.gap)

    def cancel(self):
        """End the subscription; its connection gets nothing more of it."""
        cdef Subscriber subscriber = self.subscriber
        if subscriber is not None:
            for member in self.members:
                subscriber.forget(<Member>member)
            subscriber.subscriptions.remove(self)
            subscriber.topics -= len(self.names)
            self.end()

    cdef int end(self) except -1:
        cdef Member member
        self.subscriber = None
        members, self.members = self.members, None
        self.hub.subscriptions -= len(self.names)
        for member in members:
            member.topic.leave(member)
            self.hub.drop_deserted(member.topic)
        noted, self.end_noted = self.end_noted, None
        if noted is not None:
            noted()
        return 0


cdef class Subscriber(Pending):
    def __cinit__(self):
        live_counts.subscriber += 1

    def __dealloc__(self):
        self.clear()
        free(self.ring)
        live_counts.subscriber -= 1

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
        cdef Py_ssize_t capacity, until_end
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
        cdef Subscription subscription = member.subscription
        cdef Message gap = subscription.gap
        cdef Py_ssize_t at
        cdef Entry* entry
        if subscription.slow == CLOSE:
            hub.closed += 1
            hub.dropped += self.count + 1
            self.clear()
            self.cut()
            return 1
        if subscription.slow == LATEST:
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
        cdef Message message
        if self.has_ended():
            return 0
        while self.count and (everything or not self.must_wait()):
            message = <Message>self.ring[self.first].message
            self.first = (self.first + 1) & (self.capacity - 1)
            self.count -= 1
            self.size -= message.size
            self.hub.queued_size -= message.size
            self.hub.delivered += 1
            put += message.size
            try:
                if self.channel is not None:
                    self.channel.put_shared(message)
                else:
                    self.stream.put_shared(message)
            finally:
                Py_DECREF(message)  # which the ring has owned
            if put >= PIECE:
                put = 0
                self.write()
                if self.has_ended():
                    return 0
        self.wrote = True
        return 0

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
            self.pour(False)
            if not self.has_ended():
                self.write()
        except Exception:
            self.clear()
            self.cut()
            raise  # reported by the interpreter's hook for errors that nobody can catch

    cdef int ended(self) noexcept:
        cdef list subscriptions
        if self.has_ended():
            return 0
        self.clear()
        self.channel = None
        self.stream = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        subscriptions, self.subscriptions = self.subscriptions, []
        for subscription in subscriptions:
            (<Subscription>subscription).end()
        return 0

    # Keeping a stream alive

    cdef int start_timer(self) except -1:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = self.loop.call_later(self.keepalive, self.alive)
        self.wrote = False
        return 0

    def alive(self):
        """Write a comment to a stream that nothing was written to for a while."""
        self.timer = None
        if self.stream is None:
            return
        if not self.wrote and not self.must_wait() and not self.broken():
            self.stream.put_shared(COMMENT)
            self.write()
        if self.stream is not None:
            self.start_timer()
