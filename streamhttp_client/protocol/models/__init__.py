"""The objects of the protocol, as frozen records.

A name is imported from its module when it is first used, so that a script that only calls a tool loads
neither sampling nor elicitation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Model, Page
    from .completion import CompleteResult, Completion, PromptReference, ResourceTemplateReference
    from .content import (
        Annotations,
        AudioContent,
        BlobResourceContents,
        ContentBlock,
        EmbeddedResource,
        Icon,
        ImageContent,
        ResourceContents,
        ResourceLink,
        TextContent,
        TextResourceContents,
        ToolResultContent,
        ToolUseContent,
        UnknownContent,
        safe_icon_url,
    )
    from .deferred import TASKS_EXTENSION, DeferredResult, DeferredTask
    from .elicitation import (
        BooleanSchema,
        Choice,
        ChoiceItems,
        ChoiceSchema,
        ElicitationSchema,
        ElicitFormParams,
        ElicitParams,
        ElicitResult,
        ElicitURLParams,
        MultiChoiceSchema,
        NumberSchema,
        PrimitiveSchema,
        StringSchema,
        UnknownSchema,
        fill_defaults,
        parse_elicitation,
        parse_url_elicitations,
    )
    from .inputs import ANSWERS, InputRequest, InputRequiredResult
    from .notifications import (
        Cancelled,
        DeferredTaskChanged,
        ElicitationComplete,
        Initialized,
        LoggingLevel,
        LogMessage,
        Notification,
        ProgressNotification,
        ProgressToken,
        PromptListChanged,
        ResourceListChanged,
        ResourceUpdated,
        RootsListChanged,
        SubscriptionsAcknowledged,
        TaskStatusChanged,
        ToolListChanged,
        UnknownNotification,
        parse_notification,
    )
    from .prompts import GetPromptResult, ListPromptsResult, Prompt, PromptArgument, PromptMessage
    from .resources import (
        ListResourcesResult,
        ListResourceTemplatesResult,
        ReadResourceResult,
        Resource,
        ResourceTemplate,
    )
    from .roots import ListRootsResult, Root
    from .sampling import (
        CreateMessageParams,
        CreateMessageResult,
        ModelHint,
        ModelPreferences,
        SamplingContent,
        SamplingMessage,
        ToolChoice,
    )
    from .server_info import (
        SERVER_INFO,
        ClientCapabilities,
        DiscoverResult,
        Implementation,
        InitializeResult,
        ListChangedCapability,
        ResourcesCapability,
        ServerCapabilities,
    )
    from .subscriptions import (
        SUBSCRIPTION_ID,
        SubscriptionFilter,
        SubscriptionsListenResult,
        subscription_id,
    )
    from .tasks import RELATED_TASK, CreateTaskResult, ListTasksResult, RelatedTask, Task, TaskMetadata
    from .tools import ListToolsResult, Tool, ToolAnnotations, ToolExecution, ToolResult

__all__ = [
    "ANSWERS",
    "Annotations",
    "AudioContent",
    "BlobResourceContents",
    "BooleanSchema",
    "Cancelled",
    "Choice",
    "ChoiceItems",
    "ChoiceSchema",
    "ClientCapabilities",
    "CompleteResult",
    "Completion",
    "ContentBlock",
    "CreateMessageParams",
    "CreateMessageResult",
    "CreateTaskResult",
    "DeferredResult",
    "DeferredTask",
    "DeferredTaskChanged",
    "DiscoverResult",
    "ElicitFormParams",
    "ElicitParams",
    "ElicitResult",
    "ElicitURLParams",
    "ElicitationComplete",
    "ElicitationSchema",
    "EmbeddedResource",
    "GetPromptResult",
    "Icon",
    "ImageContent",
    "Implementation",
    "InitializeResult",
    "Initialized",
    "InputRequest",
    "InputRequiredResult",
    "ListChangedCapability",
    "ListPromptsResult",
    "ListResourceTemplatesResult",
    "ListResourcesResult",
    "ListRootsResult",
    "ListTasksResult",
    "ListToolsResult",
    "LogMessage",
    "LoggingLevel",
    "Model",
    "ModelHint",
    "ModelPreferences",
    "MultiChoiceSchema",
    "Notification",
    "NumberSchema",
    "Page",
    "PrimitiveSchema",
    "ProgressNotification",
    "ProgressToken",
    "Prompt",
    "PromptArgument",
    "PromptListChanged",
    "PromptMessage",
    "PromptReference",
    "RELATED_TASK",
    "ReadResourceResult",
    "RelatedTask",
    "Resource",
    "ResourceContents",
    "ResourceLink",
    "ResourceListChanged",
    "ResourceTemplate",
    "ResourceTemplateReference",
    "ResourceUpdated",
    "ResourcesCapability",
    "Root",
    "RootsListChanged",
    "SERVER_INFO",
    "SUBSCRIPTION_ID",
    "SamplingContent",
    "SamplingMessage",
    "ServerCapabilities",
    "StringSchema",
    "SubscriptionFilter",
    "SubscriptionsAcknowledged",
    "SubscriptionsListenResult",
    "TASKS_EXTENSION",
    "Task",
    "TaskMetadata",
    "TaskStatusChanged",
    "TextContent",
    "TextResourceContents",
    "Tool",
    "ToolAnnotations",
    "ToolChoice",
    "ToolExecution",
    "ToolListChanged",
    "ToolResult",
    "ToolResultContent",
    "ToolUseContent",
    "UnknownContent",
    "UnknownNotification",
    "UnknownSchema",
    "fill_defaults",
    "parse_elicitation",
    "parse_notification",
    "parse_url_elicitations",
    "safe_icon_url",
    "subscription_id",
]

_NAMES = {
    "base": "Model Page",
    "completion": "CompleteResult Completion PromptReference ResourceTemplateReference",
    "content": (
        "Annotations AudioContent BlobResourceContents ContentBlock EmbeddedResource Icon ImageContent "
        "ResourceContents ResourceLink TextContent TextResourceContents ToolResultContent ToolUseContent "
        "UnknownContent safe_icon_url"
    ),
    "deferred": "DeferredResult DeferredTask TASKS_EXTENSION",
    "elicitation": (
        "BooleanSchema Choice ChoiceItems ChoiceSchema ElicitFormParams ElicitParams ElicitResult "
        "ElicitURLParams ElicitationSchema MultiChoiceSchema NumberSchema PrimitiveSchema StringSchema "
        "UnknownSchema fill_defaults parse_elicitation parse_url_elicitations"
    ),
    "inputs": "ANSWERS InputRequest InputRequiredResult",
    "notifications": (
        "Cancelled DeferredTaskChanged ElicitationComplete Initialized LogMessage LoggingLevel Notification "
        "ProgressNotification ProgressToken PromptListChanged ResourceListChanged ResourceUpdated "
        "RootsListChanged SubscriptionsAcknowledged TaskStatusChanged ToolListChanged UnknownNotification "
        "parse_notification"
    ),
    "prompts": "GetPromptResult ListPromptsResult Prompt PromptArgument PromptMessage",
    "resources": (
        "ListResourceTemplatesResult ListResourcesResult ReadResourceResult Resource ResourceTemplate"
    ),
    "roots": "ListRootsResult Root",
    "sampling": (
        "CreateMessageParams CreateMessageResult ModelHint ModelPreferences SamplingContent "
        "SamplingMessage ToolChoice"
    ),
    "server_info": (
        "ClientCapabilities DiscoverResult Implementation InitializeResult ListChangedCapability "
        "ResourcesCapability SERVER_INFO ServerCapabilities"
    ),
    "subscriptions": "SUBSCRIPTION_ID SubscriptionFilter SubscriptionsListenResult subscription_id",
    "tasks": "CreateTaskResult ListTasksResult RELATED_TASK RelatedTask Task TaskMetadata",
    "tools": "ListToolsResult Tool ToolAnnotations ToolExecution ToolResult",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    module = _HOMES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value  # so that this runs once for each name
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
