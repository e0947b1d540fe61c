"""The topics of one event loop, and what is published in them.

A message is delivered by putting a reference to it into the ring of each subscriber.
"""
from ..loop.turn cimport loop_of_thread
from ..python cimport PyDict_GetItemWithError, PyObject
from .ledger cimport Ledger
from .member cimport Member
from .message cimport Message, make_message
from .topic cimport Topic


def running_loop():
    """Return what asyncio._get_running_loop() does, which makes a system call before CPython 3.12."""
    return loop_of_thread()


cdef class Hub(Ledger):
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
                try:
                    self.changed(name, True)
                except BaseException:
                    if topic.deserted() and self.topics.get(name) is topic:
                        del self.topics[name]  # so that the next subscriber has it tried again
                    raise
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
                    member.miss()
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
