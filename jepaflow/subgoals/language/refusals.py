"""The words of requests that must be refused: deeds no desk of ours knows, things and places that are not there, small talk.

A palette colour that happens not to be on the desk is another matter: such a request is understood, and what the camera
shows decides. As with `grammar`, the test's words are none of the training's.
"""

from typing import Literal

from jepaflow.subgoals.language.grammar import Split

Kind = Literal["deed", "verb", "object", "place", "colour", "talk"]

DEEDS: dict[Split, tuple[str, ...]] = {
    "train": (
        "make coffee",
        "fold the towel",
        "open the drawer",
        "wash the dishes",
        "turn on the light",
        "play some music",
        "water the plants",
        "shut the door",
        "cut the bread",
        "sweep the floor",
        "drive me to the station",
        "read me the newspaper",
        "charge the phone",
        "boil an egg",
    ),
    "test": (
        "brew a cup of tea",
        "close the cupboard",
        "iron my shirt",
        "switch the lamp off",
        "peel the potatoes",
        "let the cat out",
        "write a letter",
        "bake a cake",
        "knock on the window",
        "call my sister",
        "vacuum the carpet",
        "tie your shoes",
    ),
}
"""verb and thing unknown"""

VERBS: dict[Split, tuple[str, ...]] = {
    "train": ("eat", "paint", "melt", "sell", "break", "smell", "hide", "photograph", "weigh"),
    "test": ("burn", "chew", "hammer", "draw", "polish", "measure", "cook"),
}
"""of things that are known"""

THINGS: dict[Split, tuple[str, ...]] = {
    "train": ("banana", "mug", "spoon", "pen", "towel", "apple", "book", "shoe", "can", "toy car"),
    "test": ("lemon", "bottle", "fork", "key", "sock", "teddy bear", "screwdriver", "plate"),
}
"""where a cube would be named"""

PLACES: dict[Split, tuple[str, ...]] = {
    "train": ("fridge", "drawer", "sink", "oven", "window", "kitchen", "car"),
    "test": ("dishwasher", "bookshelf", "pocket", "garden", "bathroom", "freezer"),
}
"""where a bin would be named"""

COLOURS: dict[Split, tuple[str, ...]] = {
    "train": ("yellow", "orange", "brown", "grey"),
    "test": ("pink", "black", "turquoise", "golden"),
}
"""that no desk has"""

TALK: dict[Split, tuple[str, ...]] = {
    "train": (
        "hello there",
        "what is the weather like",
        "who are you",
        "how much is two and two",
        "tell me a joke",
        "I am tired",
        "lorem ipsum dolor sit amet",
        "xq zzt blorp",
    ),
    "test": (
        "good morning",
        "what time is it",
        "where do you come from",
        "sing me a song",
        "the match ended two to one",
        "I like blue",
        "asdf jkl qwerty",
    ),
}
