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
            "basin",
            "canister",
            "receptacle",
            "sack",
            "pouch",
            "vat",
            "urn",
            "cask",
            "cup",
            "tank",
            "trunk",
            "compartment",
        ),
    ),
    (
        ("cube", "block", "piece"),
        (
            "toy",
            "item",
            "chunk",
            "object",
            "part",
            "cuboid",
            "unit",
            "slab",
            "lump",
            "tile",
            "toy-cube",
            "square-block",
            "building-block",
        ),
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
                "hand",
                "pass",
                "slip",
                "release",
                "rest",
                "leave",
                "fling",
                "chuck",
                "ferry",
                "haul",
                "relocate",
                "guide",
            ),
        ),
    ),
    "push": ((("push", "slide", "shove"), ("press", "roll", "propel", "shift", "drive", "bump", "pull", "steer")),),
    "reach": ((("touch", "reach"), ("contact", "meet", "feel", "poke", "find", "visit")),),
    "lift": ((("lift", "raise"), ("heft", "boost", "hold-up", "bring-up", "jack-up", "take")),),
    "sort": ((("sort", "separate", "arrange"), ("order", "divide", "split", "classify", "distribute")),),
}
LOOKS = (
    "small",
    "plastic",
    "tiny",
    "square",
    "shiny",
    "solid",
    "bright",
    "dark",
    "big",
    "nice",
    "pretty",
    "light",
    "old",
    "new",
    "heavy",
    "round",
    "rubber",
    "metal",
    "smooth",
    "cheap",
    "large",
    "clean",
    "single",
    "lone",
    "foam",
    "hollow",
    "lovely",
    "good",
)
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
ODD_COLOURS = (
    "cyan magenta violet beige silver maroon navy lime teal olive indigo crimson scarlet amber ivory coral lavender "
    "bronze copper tan rose plum mint striped transparent spotted azure burgundy khaki mauve fuchsia ochre sepia "
    "cream charcoal ebony cobalt emerald jade ruby sapphire aqua apricot chestnut hazel lilac mustard rust sienna "
    "tangerine umber vermilion pearl platinum brass gray colourless dotted chequered rainbow cherry peach"
)
ODD = (
    "knife phone clock chair sofa bed pillow blanket hat glove boot watch coin candle brush comb soap sponge broom "
    "bell drum guitar flute violin radio camera laptop mouse keyboard printer pencil eraser ruler notebook stamp "
    "magazine map flag kite rope chain nail screw bolt wrench saw drill axe shovel rake hose ladder wheel tire engine "
    "truck train boat plane bicycle rocket doll puzzle card dice orange pear peach cherry grape melon carrot potato "
    "onion tomato pepper cucumber corn rice bread cheese butter milk juice honey sugar salt cookie candy chocolate "
    "egg fish chicken dog horse cow pig sheep goat duck frog snake lion tiger wolf fox rabbit bird eagle owl tree "
    "flower leaf grass rock river lake ocean beach mountain forest cloud rain snow fire smoke roof wall stairs attic "
    "cellar garage balcony hallway office school church hospital shop bank hotel airport bridge tower castle fence "
    "gate couch curtain mirror bathtub shower toilet stove microwave toaster blender trash chimney fireplace "
    "accordion album almond anchor angel ankle ant antenna apricot apron armchair arrow ashtray aspirin avocado axle "
    "baby backpack bacon bagel balloon bamboo bandage banjo banner barn baton battery bean beard beetle belt bench "
    "berry bib binoculars biscuit blade blind boiler bone bonnet bookcase bracelet brain brake branch brass bride "
    "bulb bus butterfly button cabbage cabin cable cactus calculator calendar camel canoe canvas cap cape caravan "
    "carriage cart cartoon cathedral cauliflower cave celery cello cement cereal chalk charger cheek chess chin "
    "chisel cigarette cinema circus clarinet cliff cloak closet clown coach coat cobweb coconut coffee collar compass "
    "computer concert cork corridor cotton cradle crane crayon cream cricket crown crutch cuff cushion dagger daisy "
    "deer diary diamond doctor dolphin donkey doorbell dragon dress driver dryer dust duvet ear earring easel elbow "
    "elephant elevator envelope eyebrow factory fan farm faucet feather ferry fern fig finger firefly fireman flea "
    "flour foot forehead fountain freckle frying fur gasoline ginger giraffe glasses glue goggles goose gorilla gravy "
    "guest gum hair ham hammock hamster handcuff handkerchief hanger harbour harp hawk hay headphones heart hedge "
    "helicopter helmet hen herring highway hippo hook hoof horn hut ice insect island jacket jam jeans jelly jet "
    "jewel jungle kangaroo kettle keyhole king kitten knee knight label ladybird lamb lantern lawn leather lens "
    "leopard lettuce lid lighter lip lizard lobster locket log lung mailbox mango mast mattress meadow meat medal "
    "medicine microphone mitten monitor monkey moon mosquito moth motorbike moustache museum mushroom mustard napkin "
    "necklace needle nest nose nurse nut oar oat octopus omelette opera orchard orchestra ostrich otter oxygen paddle "
    "palace pancake panda paper parachute parrot parsley passport pasta path pea peacock peanut pedal pelican penguin "
    "perfume piano pier pigeon pilot pine pipe pirate pistol pizza planet plaster pliers plug police pond pony pool "
    "popcorn poppy porch porridge prison prune pub pudding pump pumpkin puppet puppy purse pyramid queen raccoon "
    "racket radish raft railway raisin ranch rat razor receipt refrigerator restaurant ribbon rifle rooster "
    "roundabout rug saddle sailor salad salmon sand sandal sandwich sausage saxophone scarf scissors scooter seal "
    "seagull seaweed sewer shampoo shark shelf shell shed shield ship shore shoulder shrimp sidewalk sink skateboard "
    "skeleton skirt skull sled sleeve slipper snail snorkel soldier soup spaceship spaghetti spark sparrow spider "
    "spinach squid squirrel stadium staircase statue steak stew stocking stool strawberry street submarine suit sun "
    "supermarket swan sweater swing sword syringe tail tailor tambourine tape taxi teacher telescope television tent "
    "terrace theatre thermometer thread throne thumb ticket tights timber toad tobacco toe tongue tooth toothbrush "
    "torch tortoise tractor traffic trampoline trousers trumpet tulip tunnel turkey turtle tweezers typewriter "
    "umbrella uncle underwear uniform university van vase vest veterinarian village vinegar volcano vulture waffle "
    "wagon waist waiter wallet walnut walrus wardrobe wasp waterfall wax weed whale wheat whistle wig windmill wine "
    "wing woodpecker wool worm wrist xylophone yacht yoghurt zebra zip zoo"
)
"""everyday things, places and colours that no desk of ours has"""
