"""Somebody who does what the documents show."""

import json
from dataclasses import dataclass, field
from typing import Any  # JSON
from urllib.parse import urlencode

from shared.contracts.examples import BY_NAME, PASSWORD, REFRESH_TOKEN, example_id
from tests.integration.accounts import Json, eventually
from tests.integration.examples.documented import Documented
from tests.isolation.probe import kind_of, with_id
from tests.isolation.world import SETTLED_WITHIN_S, Answer, Person, World


@dataclass
class Reader:
    """`known` is what stands for an id or a token of the documents; `faults` are where an answer is another."""

    world: World
    person: Person = field(default_factory=lambda: Person(str(BY_NAME["email"]), PASSWORD, "ada"))
    known: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    async def follow(self, operation: Documented) -> None:
        """Do it as it is shown, and learn the ids of what is made."""
        if operation.body is not None and "example" not in operation.body:
            self.faults.append(f"{operation.label}: its body has no example")
            return
        answer = await self._answer_to(operation)
        if answer.status != operation.status:
            self.faults.append(f"{operation.label}: {answer.status} {answer.text}")
            return
        self.faults += [f"{operation.label}: {fault}" for fault in operation.faults_of(answer.text)]
        if operation.media == "application/json":
            self._learn(operation.example, json.loads(answer.text))
        self.person.token = self.known.get("access_token", "")

    async def call(self, method: str, template: str, body: Json | None = None, path: str = "") -> Any:
        """Something that is not shown."""
        return await self.world.json(method, template, self.person, path, body)

    async def _answer_to(self, operation: Documented) -> Answer:
        """What it is answered; of a list, once something is in it."""
        return await eventually(
            lambda: self._send(operation), lambda answer: '"items":[]' not in answer.text, SETTLED_WITHIN_S
        )

    async def _send(self, operation: Documented) -> Answer:
        path = with_id(operation.path, self.known.get(kind_of(operation.path) or "", "unknown"))
        if operation.query:
            path += "?" + urlencode(operation.query)
        body = None if operation.body is None else json.loads(self._ours(json.dumps(operation.body["example"])))
        who = self.person if self.person.token else None
        return await self.world.call(operation.method, operation.path, who, path, body)

    def _ours(self, text: str) -> str:
        """With the ids and the token that the platform gave, in the place of those in the documents."""
        for name, ours in self.known.items():
            text = text.replace(REFRESH_TOKEN if name == "refresh_token" else example_id(name), ours)
        return text

    def _learn(self, shown: object, answered: object) -> None:
        """The first of each id is what the documents tell of; of tokens the last is good."""
        if isinstance(shown, list) and isinstance(answered, list) and shown and answered:
            self._learn(shown[0], answered[0])
        if isinstance(shown, dict) and isinstance(answered, dict):
            for name in shown.keys() & answered.keys():
                value = answered[name]
                if name.endswith("_token"):
                    self.known[name] = value
                elif name.endswith("_id") and value is not None:
                    self.known.setdefault(name, value)
                self._learn(shown[name], value)
