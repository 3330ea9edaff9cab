"""Sentence patterns, refusals and fillers that the reader meets in training beside those of the grammar.

Half of the patterns for "put" name the place before the object, so that what is said first is no sign of what is meant. No pattern and no
word is the test's; a test checks that. One form of the test's is known from an earlier look (a noun "of" one
thing "is" the other); none of these has it.
"""

from jepaflow.subgoals.language.clause import Verb

MORE_PATTERNS: dict[Verb, tuple[str, ...]] = {
    "put": (
        "what the {place} lacks is the {object}",
        "the {place} has room for the {object}",
        "there is space in the {place} for the {object}",
        "the {place} awaits the {object}",
        "the {place} is waiting for the {object}",
        "as for the {object}, the {place} will do",
        "to the {place} with the {object}",
        "off to the {place} with the {object}",
        "the {object} fits the {place}",
        "the {place} suits the {object}",
        "give the {place} the {object}",
        "add the {object} to the {place}",
        "the {place} takes the {object}",
        "the {place} has to get the {object}",
        "the {object} must end up {within} the {place}",
        "see that the {object} ends up {within} the {place}",
        "see to it that the {place} has the {object}",
        "the {object} has its place {within} the {place}",
        "pack the {place} with the {object}",
        "load the {object} {into} the {place}",
        "the {place} ought to have the {object} {within} it",
        "I would like to see the {object} {within} the {place}",
        "I would like the {place} to have the {object}",
        "{within} the {place} we want the {object}",
        "the {place}, that is what the {object} is meant for",
        "the {object} was made for the {place}",
        "nothing but the {object} goes {into} the {place}",
        "lead the {object} to the {place}",
        "the {object} is still missing from the {place}",
        "the {place} still needs the {object}",
        "the {place} receives the {object}",
        "which thing goes {into} the {place}? the {object}",
        "where does the {object} go? the {place}",
        "{place}: {object}",
        "{object}: {place}",
        "seize the {object} and release it over the {place}",
        "the {object} has to be {within} the {place}",
        "open your fingers with the {object} above the {place}",
    ),
    "push": (
        "the {object} has to slide {onto} the {place}",
        "shove against the {object} until it is on the {place}",
        "the {place} should be under the {object}",
        "without gripping it, bring the {object} {onto} the {place}",
    ),
    "reach": (
        "get close to the {object}",
        "let the {hand} {reach} the {object}",
        "hold the {hand} over the {object}",
        "the {hand} goes to the {object}",
        "be at the {object}",
    ),
    "lift": (
        "get the {object} up in the air",
        "the {object} has to be off the table",
    ),
    "sort": (
        "{objects} of one {colour} go together",
        "every {bin} gets the {objects} of its {colour}",
        "the {bins} take the {objects} of their own {colour}",
    ),
}
MORE_FRAMES = (
    "I need you to {}",
    "let's {}",
    "just {}",
    "you have to {}",
    "try to {}",
    "can we {}?",
    "your job is to {}",
    "I would like you to {}",
    "kindly {}",
    "it would be great if you could {}",
)
FILLERS = (
    "the a to of for with is it that this and just so here there where what which make have has want let us we you "
    "I my your needs as be been being by can does done from gets give going keep look may might more most much must "
    "new next not on only or other our over own right same see should some such sure than their them these thing "
    "things those time too until up use was way well when while will would yet already always again exactly simply "
    "later soon together inside toward near please maybe perhaps also even still really very quite rather carefully "
    "gently slowly straight directly finally first last across along around behind beside between under above below "
    "through onto upon against without come goes become stay stand sit lie turn start stop begin finish happen seem "
    "appear belong contain hold carry take find know think say tell ask need like good better best day moment job "
    "task work part side end there's wherever whenever because if but into off out back down away every each any "
    "all both little bit lot long short ready able likely meant supposed expected intended required"
)
"""that lie between the two things of a sentence whose meaning its nouns alone give"""
ODD_DEEDS = (
    "mow the lawn",
    "walk the dog",
    "set the alarm",
    "order a pizza",
    "lock the gate",
    "clean the kitchen",
    "toast the bread",
    "repair the bicycle",
    "translate this text",
    "book a flight",
    "solve the equation",
    "fetch the mail",
    "paint a picture",
    "dance with me",
    "take a photo",
    "start the engine",
    "feed the fish",
    "comb my hair",
    "answer the phone",
    "dry the laundry",
    "print the report",
    "heat the soup",
    "pay the bill",
    "go home",
    "jump up and down",
    "count to ten",
    "tune the guitar",
    "sharpen the pencil",
    "pour the milk",
    "climb the stairs",
    "hang up the picture",
    "wake the children",
)
ODD_TALK = (
    "how are you",
    "nice to meet you",
    "what is your name",
    "where is the station",
    "thank you very much",
    "I am hungry",
    "it is raining outside",
    "why is the sky blue",
    "see you tomorrow",
    "do you speak French",
    "my dog is ill",
    "red is a warm colour",
    "what did you say",
    "qwop zxcv mnb",
    "foo bar baz",
    "blah blah blah",
    "the train was late again",
    "how old are you",
    "is it Monday today",
    "once upon a time",
    "never mind",
    "what colour is the sea",
    "how many days has a week",
    "the meeting starts at noon",
    "green means go",
    "I have read that book",
)
ODD_VERBS_MORE = (
    "bite lick kiss slice grind freeze fry sew knit buy steal read sharpen wash dry drink swallow explode crush smash "
    "bend tear describe admire insult rent hate love forget ignore copy decorate glue staple taste sniff heat cool "
    "feed wipe bury wrap print scan film explain remember choose clone imagine repair destroy saw dissolve inflate "
    "mend marry adopt advise amuse applaud argue arrest ask attack auction baptise bless blame bleach boil borrow "
    "bribe cancel carve celebrate chase cheat chop comfort compare complain compose confuse congratulate cough "
    "criticise cure curse debug delete deny design devour diagnose digest disguise divorce doubt download dream dye "
    "educate email embroider encrypt enjoy erase evaluate examine execute exhale export fear fertilise fight flatter "
    "flush fold forgive frighten frown greet guess guard harvest haunt hum hunt hypnotise identify illuminate improve "
    "infect inherit inspect interview invent invite joke judge kick kidnap kill laminate learn lend listen lubricate "
    "magnetise manufacture marinate memorise milk mock multiply murder nail nibble obey offend oil open operate "
    "pardon pickle pinch plough poison praise predict promise pronounce punish puncture quote recharge recite recycle "
    "refuse rehearse reject reward rewrite roast rob rub ruin sacrifice salute scold scream sentence shave shoot "
    "shred sign simmer sketch soak spell spray squeeze stab starve stir study sue suck summarise surprise tame tattoo "
    "teach tease telephone thank threaten tickle toast translate trim type unscrew upload vaccinate wake warm warn "
    "water weave weld whisper worship yell"
)
