"""Words that the reader meets in training beside those of the grammar, so that an unfamiliar word is no reason to refuse, nor a proof.

None of them is among the test's words; a test checks that.
"""

MORE = (
    (
        ("bin", "box", "container", "tray", "bucket", "bowl", "pot"),
        (
            "dish",
            "pail",
            "tin",
            "hamper",
            "case",
            "chest",
            "barrel",
            "vessel",
            "holder",
            "carton",
            "jar",
            "bag",
            "pan",
            "trough",
            "casket",
        ),
    ),
    (
        ("cube", "block", "piece"),
        ("die", "toy", "item", "chunk", "peg", "token", "object", "part", "box-shaped-thing", "square", "stone"),
    ),
    (("disc", "spot", "circle", "marker"), ("area", "target", "ring", "sticker", "field", "coaster")),
    (("ball", "sphere"), ("marble", "bead", "round-thing")),
)
MORE_DEEDS: dict[str, tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]] = {
    "put": (
        (
            ("put", "place", "drop", "move", "set", "bring", "stow"),
            (
                "shift",
                "lay",
                "lower",
                "toss",
                "throw",
                "insert",
                "store",
                "deliver",
                "dump",
                "slot",
                "park",
                "send",
                "position",
                "plop",
            ),
        ),
    ),
    "push": ((("push", "slide", "shove"), ("press", "roll", "propel", "shift", "drive", "bump", "pull", "steer")),),
    "reach": ((("touch", "reach"), ("contact", "meet", "feel", "poke", "find", "visit")),),
    "lift": ((("lift", "raise"), ("heft", "boost", "hold-up", "bring-up", "jack-up", "take")),),
    "sort": ((("sort", "separate", "arrange"), ("order", "divide", "split", "classify", "distribute")),),
}
LOOKS = ("small", "plastic", "tiny", "square", "shiny", "solid", "bright", "dark", "big", "nice", "pretty", "light")
BEFORE = (
    "hey",
    "okay",
    "well",
    "listen",
    "next",
    "the task is to",
    "your task:",
    "let us",
    "help me to",
    "we must",
    "I need:",
)
AFTER = (
    "thanks",
    "right away",
    "if you can",
    "when you are ready",
    "quickly",
    "carefully",
    "thank you",
    "at once",
    "today",
)
"""more words; none is among the test's"""
ODD = (
    "knife lamp phone clock chair table sofa bed pillow blanket shirt hat glove boot watch ring coin candle "
    "brush comb soap sponge broom bell drum guitar flute violin radio camera laptop mouse keyboard printer pencil eraser ruler "
    "notebook stamp magazine map flag kite rope chain nail screw bolt wrench saw drill axe shovel rake hose ladder "
    "wheel tire engine truck train boat plane bicycle rocket robot doll puzzle card dice orange pear peach cherry grape melon "
    "carrot potato onion tomato pepper cucumber corn rice bread cheese butter milk juice honey sugar salt cake cookie candy "
    "chocolate egg fish chicken dog horse cow pig sheep goat duck frog snake lion tiger bear wolf fox rabbit bird eagle owl "
    "tree flower leaf grass rock stone river lake ocean beach mountain forest cloud rain snow fire smoke roof wall stairs attic "
    "cellar garage balcony hallway office school church hospital shop bank hotel airport bridge tower castle fence gate  "
    "desk couch curtain carpet mirror bathtub shower toilet stove microwave toaster blender  "
    "trash chimney fireplace cyan magenta violet beige silver maroon navy lime teal "
    "olive indigo crimson scarlet amber ivory coral lavender bronze copper tan rose plum mint striped transparent spotted"
)
"""everyday things, places and colours that no desk of ours has"""
