"""The blocking client.

From what a user calls to what goes out::

    client, options          the object, and the making of its parts
    verbs, tool_verbs,       one method for each thing that can be asked; asking is what they stand on
    tasks, asking
    call                     what a user sees of a call under way
    run, hearing             one request: its attempts, what arrives, how it ends
    rounds, deferred,        what a server wants to know first; a call that became a task; when to ask after it
    polling
    engine, work, turns      the session and its renewal; what is under way; one thread does it, others wait
    listener                 what a user sees of listening for what no call asked for
    listening, background    the stream of that, and the one that a client holds by itself
    callbacks, serving       what the server asks, of the user
    agreement, handshake,    finding out how a server speaks, and what is remembered of that
    eras
    tools, cache, validation what is known of tools; results that may be kept; schemas of results
"""

from .client import Client

__all__ = ["Client"]
