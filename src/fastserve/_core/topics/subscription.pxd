"""What applications subscribe with, to one topic or to several."""
from .hub cimport Hub
from .member cimport Member
from .message cimport Message
from .subscriber cimport Subscriber
from .topic cimport Topic


cdef class Early:
    """What a member has to know until its older messages are here."""
    cdef list held  # messages that wait for them, or None
    cdef object after  # whether a message is not among them, until the first that is not; or None


cdef class Extra:
    """What most subscriptions have no more once they have begun, or never had."""
    cdef Hub hub
    cdef tuple names
    cdef list members  # those of each of several topics
    cdef Message gap  # what its client is told of messages that it did not get, or None
    cdef object end_noted  # called when it ends
    cdef double keepalive


cdef class OfTopic(Member):
    """A topic of a subscription; of one topic it is the subscription itself."""
    cdef Topic topic
    cdef Subscription subscription  # None for itself
    cdef Early early

    cdef bint is_new(self, Message message) except -1
    cdef int hear_gap(self) except -1


cdef class Subscription(OfTopic):
    cdef Subscription following  # of the same connection
    cdef Extra extra  # None if there is nothing of it

    cdef int join(self, OfTopic member, str name, Subscriber subscriber) except -1
    cdef list all_members(self)
