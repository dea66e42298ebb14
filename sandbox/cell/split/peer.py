"""What oracle and candidate have in common: asking, answering, and keeping arguments that a call changed in step."""

from __future__ import annotations

from typing import Any

from .. import values
from .channel import MAX_FRAME, Channel, MalformedError


class Objects(values.Handles):
    """Carries objects that are not plain data. `news` collects descriptions for the next frame."""

    def __init__(self) -> None:
        self.news: list[Any] = []

    def learn(self, news: list[Any]) -> None:
        """Take descriptions from a frame. Raises `MalformedError`."""
        if news:
            raise MalformedError("news from the wrong side")

    def pack_error(self, packer: values.Packer, error: BaseException) -> Any:
        """The tree of an exception on its way to the other side."""
        raise NotImplementedError

    def contents(self, packer: values.Packer, value: Any) -> Any:
        """The contents of a mutable object of the arguments."""
        return packer.contents(value)

    def refill(self, unpacker: values.Unpacker, value: Any, tree: Any) -> None:
        """The reverse of `contents`."""
        unpacker.refill(value, tree)


class Peer:
    """One side of the channel."""

    def __init__(self, channel: Channel, objects: Objects) -> None:
        self.channel = channel
        self.objects = objects
        self.depth = 0
        """Questions of the other side that are being answered now."""
        self._number = 0

    def ask(self, operation: str, arguments: tuple[Any, ...], capture: bool = False) -> tuple[bool, Any, str]:
        """Ask, and answer questions until the answer comes: whether it is good, its value, what was printed.

        Raises `ValuesError` if the arguments cannot cross, `ClosedError`, `MalformedError`.
        """
        refs: list[Any] = []
        trees = values.Packer(MAX_FRAME, self.objects, refs).items(arguments)
        self._number += 1
        number = self._number
        news, self.objects.news = self.objects.news, []
        self.channel.send(["q", number, operation, trees, capture, news])
        while True:
            frame = self.channel.receive()
            if frame[0] == "q":
                self.answer(frame)
            else:
                return self._take(frame, number, refs)

    def answer(self, frame: list[Any]) -> None:
        """Answer one question. Raises `ClosedError`, `MalformedError`."""
        if len(frame) != 6 or frame[0] != "q":
            raise MalformedError("no question")
        _, number, operation, trees, capture, news = frame
        if type(number) is not int or type(trees) is not list or type(operation) is not str or type(news) is not list:
            raise MalformedError("a question of another shape")
        refs: list[Any] = []
        try:
            self.objects.learn(news)
            arguments = values.Unpacker(self.objects, refs).items(trees)
        except values.ValuesError as error:
            raise MalformedError(str(error)) from None
        self.depth += 1
        try:
            good, value, output = self.perform(operation, arguments, bool(capture))
        finally:
            self.depth -= 1
        try:
            packer = values.Packer(MAX_FRAME, self.objects, list(refs))
            tree = packer.pack(value) if good else self.objects.pack_error(packer, value)
            writes = None
            if refs and self._changed(arguments, trees):
                writes = [self.objects.contents(packer, item) for item in refs]
            self._send_answer(number, good, tree, writes, output)
        except values.ValuesError as error:
            tree = self.objects.pack_error(values.Packer(MAX_FRAME, self.objects, []), ValueError(str(error)))
            self._send_answer(number, False, tree, None, "")

    def perform(self, operation: str, arguments: list[Any], capture: bool) -> tuple[bool, Any, str]:
        """Do what the other side asks: whether it went well, the value or the exception, and what it printed."""
        raise NotImplementedError

    def _send_answer(self, number: int, good: bool, tree: Any, writes: Any, output: str) -> None:
        news, self.objects.news = self.objects.news, []
        self.channel.send(["a", number, good, tree, writes, output, news])

    def _changed(self, arguments: list[Any], trees: list[Any]) -> bool:
        """Whether the arguments are no longer what came. It may say yes in vain."""
        try:
            now = values.Packer(MAX_FRAME, self.objects, []).items(arguments)
            return values.dump(now, MAX_FRAME) != values.dump(trees, MAX_FRAME)
        except values.ValuesError:
            return True

    def _take(self, frame: list[Any], number: int, refs: list[Any]) -> tuple[bool, Any, str]:
        if frame[0] != "a" or len(frame) != 7:
            raise MalformedError("neither question nor answer")
        _, answered, good, tree, writes, output, news = frame
        if answered != number or type(good) is not bool or type(output) is not str or type(news) is not list:
            raise MalformedError("an answer to no question")
        count = len(refs)
        try:
            self.objects.learn(news)
            unpacker = values.Unpacker(self.objects, refs)
            value = unpacker.unpack(tree)
            if writes is not None:
                if type(writes) is not list or len(writes) != count:
                    raise MalformedError("contents of other objects than the arguments")
                for index, contents in enumerate(writes):
                    self.objects.refill(unpacker, refs[index], contents)
        except values.ValuesError as error:
            raise MalformedError(str(error)) from None
        return good, value, output
