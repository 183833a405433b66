"""Somebody with a session, a token, messages, a language, a time zone and a variant."""

from __future__ import annotations

import json
import random
import re
from typing import Any

from django.middleware.csrf import _does_token_match
from django.test import Client

PAGES = ["name", "form", "told", "sets", "secret", "language", "zone", "variant", "everything"]
ZONES = ["UTC", "Europe/Zagreb", "Asia/Tokyo", "America/Lima"]
LANGUAGES = ["en", "fr", "de"]


class Visitor:
    """Asks for pages, and holds each answer against what it is."""

    def __init__(self, number: int) -> None:
        self.dice = random.Random(number)
        self.name = f"visitor-{number}"
        self.is_member = number % 3 > 0
        self.language = LANGUAGES[number % len(LANGUAGES)]
        self.zone = ZONES[number % len(ZONES)]
        self.variant = self.dice.choice("ab")
        self.waiting: list[str] = []
        self.hits = 0
        self.client = Client(headers={"accept-language": self.language})
        cookies = [
            ("who", self.name),
            ("zone", self.zone),
            ("ab", self.variant),
            ("_ga", self.name),
        ]
        self.dice.shuffle(cookies)
        for key, value in cookies:
            self.client.cookies[key] = value

    def step(self) -> None:
        """One request, of those that it may make."""
        if self.is_member and "sessionid" not in self.client.cookies:
            self._answer(self.client.post("/login/", {"name": self.name}), name=self.name)
        elif self.is_member and self.dice.random() < 0.1:
            self.client.post("/add/", {"name": self.name})
            self.waiting.append(f"for {self.name}")
        else:
            getattr(self, f"see_{self.dice.choice([*PAGES, 'public'])}")()

    def _get(self, page: str, **extra: Any) -> Any:
        response = self.client.get(f"/{page}/", **extra)
        assert response.status_code == 200
        self.hits += "Age" in response
        for cookie in response.cookies.values():
            assert "visitor-" not in cookie.value or self.name == cookie.value, cookie
        return response

    def _answer(self, response: Any, **expected: Any) -> None:
        found = json.loads(response.content)
        assert found == expected, (self.name, found, expected)

    @property
    def _member(self) -> str | None:
        return self.name if self.is_member else None

    def see_name(self) -> None:
        self._answer(self._get("name"), name=self._member)

    def see_form(self) -> None:
        body = self._get("form").content.decode()
        [token] = re.findall('value="(.+)"', body)
        assert _does_token_match(token, self.client.cookies["csrftoken"].value)

    def see_told(self) -> None:
        self._answer(self._get("told"), messages=self.waiting)
        self.waiting = []

    def see_sets(self) -> None:
        response = self._get("sets")
        assert response.cookies["mine"].value == self.name

    def see_secret(self) -> None:
        authorization = f"Bearer {self.name}"
        response = self._get("secret", headers={"authorization": authorization})
        self._answer(response, authorization=authorization)

    def see_language(self) -> None:
        self._answer(self._get("language"), language=self.language)

    def see_zone(self) -> None:
        self._answer(self._get("zone"), zone=self.zone)

    def see_variant(self) -> None:
        self._answer(self._get("variant"), variant=self.variant)

    def see_everything(self) -> None:
        self._answer(
            self._get("everything"),
            name=self._member,
            language=self.language,
            zone=self.zone,
            variant=self.variant,
        )

    def see_public(self) -> None:
        self._answer(self._get("public"), site="leaks.site")
