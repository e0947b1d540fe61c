"""What applications subscribe with, to one topic or to several.

There are thousands of them, so that of one topic is its own member, and the options that are rare are in an `Extra`.
"""
from ..interfaces cimport Channel, Stream
from ..worker cimport Worker
from .hub cimport Hub
from .member cimport CLOSE, LATEST, OLDEST, Member
from .message cimport Message
from .subscriber cimport Subscriber
from .topic cimport Topic

cdef enum:
    MOST_TOPICS = 256  # of a connection

cdef dict POLICIES = {"close": CLOSE, "oldest": OLDEST, "latest": LATEST}


cdef class OfTopic(Member):
    cdef int begin(self, object worker, Stream stream, Channel channel) except -1:
        raise RuntimeError("a member does not begin")

    cdef int take(self, Message message) except -1:
        if self.early is not None:
            if self.early.held is not None:
                self.early.held.append(message)
                return 0
            if not self.is_new(message):
                return 0
        return (<Subscriber>self.subscriber).push(self, message.in_json() if self.in_json else message)

    cdef bint is_new(self, Message message) except -1:
        """Whether the history, which may be ahead of what is delivered, has not given this message already."""
        if message.id is None:
            return True
        if not self.early.after(message):
            return False
        self.early = None
        return True

    cdef int miss(self) except -1:
        if self.early is not None and self.early.held is not None:
            self.early.held.append(None)
            return 0
        return self.hear_gap()

    cdef Message gap(self):
        cdef Subscription subscription = self.subscription if self.subscription is not None else <Subscription>self
        return None if subscription.extra is None else subscription.extra.gap

    cdef int hear_gap(self) except -1:
        """Tell the client that messages are lost."""
        cdef Message gap
        if self.subscriber is None:
            return 0
        (<Subscriber>self.subscriber).hub.gaps += 1
        gap = self.gap()
        return 0 if gap is None else (<Subscriber>self.subscriber).push(self, gap)


cdef class Subscription(OfTopic):
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
        cdef OfTopic member
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
        self.following, subscriber.subscriptions = <Subscription>subscriber.subscriptions, self
        self.subscriber = subscriber
        try:
            if len(extra.names) == 1:
                self.join(self, extra.names[0], subscriber)
            else:
                extra.members = []
                for name in extra.names:
                    member = OfTopic.__new__(OfTopic)
                    member.subscription = self
                    self.join(member, name, subscriber)
                    extra.members.append(member)
        except BaseException:
            self.cancel()  # what there is of it
            raise
        if stream is not None and extra.keepalive > 0:
            subscriber.keep_alive((<Worker>worker).loop, extra.keepalive)
        extra.hub = None
        extra.names = None
        if extra.members is None and extra.gap is None and extra.end_noted is None:
            self.extra = None
        return 0

    cdef int join(self, OfTopic member, str name, Subscriber subscriber) except -1:
        cdef Hub hub = <Hub>subscriber.hub
        cdef Topic topic = hub.topic_of(name)
        member.subscriber = subscriber
        member.in_json = self.in_json
        member.slow = self.slow
        if self.recovers:
            member.early = Early.__new__(Early)
            member.early.held = []
        topic.join(member)
        member.topic = topic
        subscriber.topics += 1
        hub.subscriptions += 1
        return 0

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
        return 0 if self.subscriber is None else (<Subscriber>self.subscriber).number

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
        cdef OfTopic member
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
        cdef Subscriber subscriber = <Subscriber>self.subscriber
        cdef Subscription each
        if subscriber is None:
            return
        for member in self.all_members():
            subscriber.forget(<Member>member)
        if subscriber.subscriptions is self:
            subscriber.subscriptions = self.following
        else:
            each = <Subscription>subscriber.subscriptions
            while each.following is not self:
                each = each.following
            each.following = self.following
        self.following = None
        self.end()

    cdef Member unlink(self):
        following, self.following = self.following, None
        return <Member>following

    cdef int end(self) except -1:
        cdef OfTopic member
        cdef Subscriber subscriber = <Subscriber>self.subscriber
        cdef Hub hub = <Hub>subscriber.hub
        cdef list members = self.all_members()
        cdef Extra extra
        cdef object failure = None
        extra, self.extra = self.extra, None
        self.subscriber = None
        subscriber.topics -= len(members)
        hub.subscriptions -= len(members)
        for member in members:
            member.subscriber = None
            topic, member.topic = member.topic, None
            (<Topic>topic).leave(member)
            try:
                hub.drop_deserted(<Topic>topic)
            except Exception as exception:  # the others have to be left as well
                failure = exception
        if extra is not None and extra.end_noted is not None:
            extra.end_noted()
        if failure is not None:
            raise failure
        return 0
