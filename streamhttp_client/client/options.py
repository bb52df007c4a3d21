"""What a client was asked to be, and the making of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .._record import Record
from .._version import __version__
from ..exceptions import LocalProtocolError
from ..net.http import HTTP, AuthLike
from ..net.retry import RetryPolicy
from ..net.target import check_url
from ..net.timeouts import Timeout, TimeoutLike
from ..protocol.names import TASKS_EXTENSION
from ..protocol.session import Session
from ..protocol.versions import get_revision
from .agreement import Agreement
from .background import BackgroundListening
from .callbacks import Callbacks, ElicitationCallback, RootsLike, SamplingCallback, check_function
from .engine import Engine, RequestIds

if TYPE_CHECKING:
    import requests

    from ..protocol.models.notifications import LogMessage

__all__ = ["DEFAULT_MAX_MESSAGE_SIZE", "Options"]

DEFAULT_MAX_MESSAGE_SIZE = 64 * 1024 * 1024
_DEFAULT_TIMEOUT = Timeout()
_DEFAULT_RETRY = RetryPolicy()
_CLIENT_INFO = {"name": "streamhttp-client", "version": __version__}
# These are the session's and the request's to say.
_OWN_HEADERS = frozenset(("mcp-session-id", "mcp-protocol-version", "last-event-id", "mcp-method", "mcp-name"))


class Options(Record, kw_only=True):
    """The arguments of :class:`Client`, which describes them. Frozen; it pickles if what it holds does."""

    url: str
    auth: AuthLike = None
    headers: Mapping[str, str] | None = None
    http: requests.Session | None = None
    timeout: TimeoutLike | None = None
    retry: RetryPolicy | None = None
    protocol: str = "auto"
    client_info: Any = None
    sampling: SamplingCallback | None = None
    elicitation: ElicitationCallback | None = None
    url_elicitation: bool = False
    sampling_tools: bool = False
    roots: RootsLike | None = None
    on_log: Callable[[LogMessage], object] | None = None
    on_notification: Callable[[Any], object] | None = None
    on_session_expired: str = "renew"
    on_session_renewed: Callable[[Session, Session], object] | None = None
    max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    proxies: Mapping[str, str] | None = None
    trust_env: bool = True
    end_session: bool | None = None
    check_results: bool = True
    listen_in_background: bool | None = None

    def __post_init__(self) -> None:
        if self.on_session_expired not in ("renew", "raise"):
            raise LocalProtocolError(f"on_session_expired must be 'renew' or 'raise', got {self.on_session_expired!r}")
        limit = self.max_message_size
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise LocalProtocolError(f"max_message_size must be a number of bytes above 0, got {limit!r}")
        if self.retry is not None and not isinstance(self.retry, RetryPolicy):
            raise LocalProtocolError(f"retry must be a RetryPolicy, got {type(self.retry).__name__}")
        for name in self.headers or ():
            if isinstance(name, str) and name.lower() in _OWN_HEADERS:
                raise LocalProtocolError(f"header {name!r} belongs to the session or the request and cannot be given")
        for name in ("on_log", "on_notification", "on_session_renewed"):
            check_function(name, getattr(self, name))

    def make_engine(self, session: Session | None) -> Engine:
        """Put the parts together.

        Args:
            session: A session to take up, or None to begin one when it is needed.

        Raises:
            LocalProtocolError: An option cannot be used.
        """
        pinned = None if self.protocol == "auto" else get_revision(self.protocol)
        timeout = Timeout.of(self.timeout, _DEFAULT_TIMEOUT)
        callbacks = Callbacks(
            sampling=self.sampling,
            elicitation=self.elicitation,
            roots=self.roots,
            url_elicitation=self.url_elicitation,
            sampling_tools=self.sampling_tools,
        )
        capabilities = callbacks.capabilities()
        shown_url, client_info = check_url(self.url), _client_info(self.client_info)
        http = HTTP(
            session=self.http,
            headers=self.headers,
            auth=self.auth,
            travels=_travels,
            verify=self.verify,
            cert=self.cert,
            proxies=self.proxies,
            trust_env=self.trust_env,
        )
        ids = RequestIds()
        agreement = Agreement(
            http,
            self.url,
            shown_url=shown_url,
            pinned=pinned,
            capabilities={**capabilities, "extensions": {TASKS_EXTENSION: {}}},
            client_info=client_info,
            next_id=ids.next,
            max_message_size=self.max_message_size,
        )
        listens = self.listen_in_background
        return Engine(
            http,
            self.url,
            agreement,
            BackgroundListening(wanted=bool(capabilities) if listens is None else listens),
            link=None if session is None else agreement.take_up(session),
            callbacks=callbacks,
            timeout=timeout,
            retry=_DEFAULT_RETRY if self.retry is None else self.retry,
            renews=self.on_session_expired == "renew",
            ids=ids,
            on_log=self.on_log,
            on_notification=self.on_notification,
            on_session_renewed=self.on_session_renewed,
        )


def _travels(name: str) -> bool:
    """Whether a header repeats what is in the body, which follows a redirect too."""
    return name in ("mcp-protocol-version", "mcp-method", "mcp-name") or name.startswith("mcp-param-")


def _client_info(given: Any) -> Mapping[str, Any]:
    if given is None:
        return _CLIENT_INFO
    wire = given.to_wire() if hasattr(given, "to_wire") else given
    if not isinstance(wire, Mapping) or not all(isinstance(wire.get(key), str) for key in ("name", "version")):
        raise LocalProtocolError(f"client_info must have a 'name' and a 'version', both strings, got {given!r:.80}")
    return wire
