"""A user who follows the documented examples."""

import json
from dataclasses import dataclass, field
from urllib.parse import urlencode

from shared.contracts.examples import BY_NAME, PASSWORD, REFRESH_TOKEN, example_id
from shared.testing.api_client import Answer
from shared.testing.tenant import kind_of, with_id
from tests.integration.accounts import eventually
from tests.integration.examples.documented import Documented
from tests.isolation.world import SETTLED_WITHIN_S, World


@dataclass
class Reader:
    """`known` has the real value for each id or token in the document; `faults` are the answers that differ."""

    world: World
    known: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.person = self.world.person("ada", email=str(BY_NAME["email"]), password=PASSWORD)

    async def follow(self, operation: Documented) -> None:
        """Send the operation's example, compare the answer, and learn the ids of new objects."""
        if operation.body is not None and "example" not in operation.body:
            self.faults.append(f"{operation.label}: its body has no example")
            return
        answer = await self._answer_to(operation)
        if answer.status != operation.status:
            self.faults.append(f"{operation.label}: {answer.status} {answer.raw}")
            return
        self.faults += [f"{operation.label}: {fault}" for fault in operation.faults_of(answer.raw)]
        if operation.media == "application/json":
            self._learn(operation.example, json.loads(answer.raw))
        self.person.token = self.known.get("access_token", "")

    async def _answer_to(self, operation: Documented) -> Answer:
        """Send the operation and return the answer; for a list, retry until it has an item."""
        return await eventually(
            lambda: self._send(operation), lambda answer: '"items":[]' not in answer.raw, SETTLED_WITHIN_S
        )

    async def _send(self, operation: Documented) -> Answer:
        path = with_id(operation.path, self.known.get(kind_of(operation.path) or "", "unknown"))
        if operation.query:
            path += "?" + urlencode(operation.query)
        body = None if operation.body is None else json.loads(self._ours(json.dumps(operation.body["example"])))
        return await self.person.call(operation.method, path, body)

    def _ours(self, text: str) -> str:
        """Replace the ids and the token of the document by the platform's own."""
        for name, ours in self.known.items():
            text = text.replace(REFRESH_TOKEN if name == "refresh_token" else example_id(name), ours)
        return text

    def _learn(self, example: object, answer: object) -> None:
        """Learn ids and tokens.

        The first value of an id is the one the document refers to; of a token the latest is valid.
        """
        if isinstance(example, list) and isinstance(answer, list) and example and answer:
            self._learn(example[0], answer[0])
        if isinstance(example, dict) and isinstance(answer, dict):
            for name in example.keys() & answer.keys():
                value = answer[name]
                if name.endswith("_token"):
                    self.known[name] = value
                elif name.endswith("_id") and value is not None:
                    self.known.setdefault(name, value)
                self._learn(example[name], value)
