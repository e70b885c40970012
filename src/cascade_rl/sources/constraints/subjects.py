"""What requests are about: fields of everyday life, each with its things and with words that fit them.

The words are keywords to use or to avoid; none stands in the composer's sentences, so that a composed reply
says one only where it is asked to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Field:
    """A field of life: what can be written about, and words that belong to it."""

    things: tuple[str, ...]
    words: tuple[str, ...]


def _listed(text: str) -> tuple[str, ...]:
    # a line may end within one of them
    return tuple(" ".join(one.split()) for one in text.split(","))


def _field(things: str, words: str) -> Field:
    return Field(_listed(things), tuple(words.split()))


FIELDS: Mapping[str, Field] = {
    "kitchen": _field(
        """a tomato soup, homemade pizza, a birthday cake, the perfect omelette, a lunch box,
        pancakes, a spice rack, a coffee machine, breakfast in bed, a picnic, vegetarian cooking,
        a burnt dinner, leftovers, chocolate, a farmers' market, sourdough, ice cream, a cooking
        class, a noodle bar, olive oil""",
        """butter pepper garlic recipe spoon flavour saucepan oven sugar cheese salad tomato plate
        crunchy sweet delicious onion ginger honey dessert""",
    ),
    "nature": _field(
        """the ocean, a waterfall, autumn leaves, a thunderstorm, an old oak, the desert, a
        mountain trail, bees, a rose garden, the northern lights, a river in flood, wild
        mushrooms, a coral reef, the four seasons, a foggy morning, a volcano, moss, a full moon,
        climate change, a national park""",
        """thunder ocean petal climate meadow breeze blossom root soil cliff storm waterfall
        moonlight leaf wild coral frost horizon nature seed""",
    ),
    "animals": _field(
        """a clumsy penguin, a rescue dog, two parrots, an elephant's memory, a goldfish, a
        hedgehog, a lazy cat, wolves, a racehorse, an octopus, pandas, a pet spider, a bat at
        night, whales, a donkey, crows, a turtle, squirrels in the park, keeping chickens, a
        giraffe""",
        """tail whisker feather paw fur beak claw wing nest hunt leash stable breed tame creature
        purr bark zoo jungle hoof""",
    ),
    "travel": _field(
        """a weekend in Lisbon, a trip to Japan, the night bus, lost luggage, a cruise, camping in
        the rain, a hotel without windows, New York, a road trip with children, Iceland,
        backpacking, an airport at dawn, Venice, a train across India, a holiday at home, Cairo, a
        map of Rome, hitchhiking, a beach in Brazil, a passport""",
        """ticket hotel luggage airport passport island museum guide beach suitcase tourist border
        cabin flight souvenir backpack itinerary hostel journey tram""",
    ),
    "work": _field(
        """a job interview, a difficult boss, working from home, a first day at the office, a pay
        rise, a long meeting, a nurse's shift, a start-up, retirement, a fire fighter, a missed
        deadline, a baker's apprentice, teamwork, a career change, an internship, a strike, lunch
        breaks, a plumber, a farm worker, an office party""",
        """salary deadline manager office career client budget report skill contract team meeting
        project promotion schedule training desk experience workshop colleague""",
    ),
    "school": _field(
        """a maths exam, a school play, homework, a new pupil, the school library, a science fair,
        learning French, a strict teacher, a class trip, handwriting, summer holidays, a chess
        club, a spelling bee, studying at night, school uniforms, a college application, a history
        lesson, a forgotten essay, dyslexia, graduation""",
        """exam pencil lesson classroom grade essay homework library pupil notebook chalk science
        answer knowledge college student subject spelling chess curious""",
    ),
    "technology": _field(
        """a smartphone, artificial intelligence, a talking fridge, electric cars, a broken
        laptop, video games, online privacy, a robot vacuum, social media, a drone, solar panels,
        password managers, 3D printing, the first computer, a smart watch, space travel, an old
        radio, spam mail, a coding course, self-driving buses""",
        """battery screen software robot keyboard internet signal engine machine digital privacy
        data password website device rocket circuit update camera network""",
    ),
    "health": _field(
        """a good night's sleep, running, yoga, a sprained ankle, stress, drinking water, a visit
        to the dentist, a balanced diet, back pain, a gym for beginners, meditation, the flu,
        walking to work, quitting sugar, sunburn, swimming, allergies, a bicycle tour, a marathon,
        mental health""",
        """muscle doctor sleep breath exercise vitamin energy habit shower stretch routine protein
        relax fever balance healthy posture calorie therapy pulse""",
    ),
    "home": _field(
        """a leaking tap, a small flat, moving house, a noisy neighbour, house plants, a red sofa,
        spring cleaning, an attic full of boxes, a do-it-yourself shelf, a haunted cellar, pocket
        money, a family reunion, twins, a grandmother's clock, a garage sale, a tree house, a
        first flat, wallpaper, a balcony, a lost key""",
        """carpet curtain furniture ladder hammer mirror cushion drawer attic blanket rent balcony
        pillow staircase tenant comfort paint sofa bucket lamp""",
    ),
    "arts": _field(
        """a jazz band, a violin lesson, an empty theatre, photography, a street painter, a rock
        concert, ballet, a film about pirates, a museum at night, poetry, a choir, a comic strip,
        folk dance, a stolen painting, a drummer, a radio play, knitting, pottery, an opera, a
        science fiction novel""",
        """melody rhythm guitar stage canvas novel chorus drum painter poem theatre colourful
        violin dancer scene audience actor concert gallery verse""",
    ),
    "money": _field(
        """saving for a car, a second-hand shop, a lottery ticket, a household budget, taxes, a
        lemonade stand, a bakery, tipping, a bank robbery, fair trade, a shopping list, a piggy
        bank, a flea market, rent, an online shop, a charity run, gift cards, a bargain, a coffee
        house, an auction""",
        """price trade profit customer discount coin bank cash invest loan wallet bargain shop
        purchase quality brand income tax spend value""",
    ),
    "sport": _field(
        """a football final, a tennis racket, a lost match, surfing, a referee, the Olympic Games,
        a skateboard, table tennis, a cricket club, a basketball coach, ice hockey, chess, rowing,
        a school team, boxing, a climbing wall, archery, a relay race, karate, a stadium""",
        """goal coach score medal referee whistle racket victory opponent stadium champion sprint
        training match team jump defend trophy helmet league""",
    ),
    "history": _field(
        """the Vikings, ancient Egypt, a medieval market, the invention of the wheel, a Roman
        soldier, the first flight, pirates, a castle, the silk road, the printing press, a
        lighthouse keeper, the moon landing, dinosaurs, an old coin, a forgotten queen, steam
        engines, the telephone, a time capsule, knights, a shipwreck""",
        """castle empire sword king pyramid ancient battle treaty crown ruins kingdom soldier
        century legend knight emperor temple treasure revolution iron""",
    ),
    "feelings": _field(
        """friendship, a secret, stage fright, being late, a long goodbye, patience, homesickness,
        a white lie, good neighbours, an apology, boredom, courage, growing up, a kind stranger,
        jealousy, hope, a quarrel between brothers, first love, forgiveness, luck""",
        """courage trust smile promise gentle lonely proud secret honest worry hope anger grateful
        kindness tears laughter patience dream afraid forgive""",
    ),
}  # fmt: skip

_PEOPLE = """
    my boss, my landlord, a friend who is ill, my grandmother, a new neighbour, the headteacher, a pen pal,
    my little sister, the city council, my future self, a famous singer, an old colleague, the editor of a
    magazine, my students, a travel agent, my football team, a customer, an aunt abroad, the library, a witch,
    our guests, my dentist, teenagers, beginners, a child of six, busy parents, pensioners, the whole
    village, first-year students, people who hate reading
"""
PEOPLE = _listed(_PEOPLE)
JOBS = ("a waiter", "a gardener", "a lorry driver", "an electrician", "a web designer", "a librarian",
        "a lifeguard", "a zookeeper", "a shop assistant", "a tour guide", "a lab technician", "a barista",
        "a primary school teacher", "a bus driver", "a carpenter", "an accountant", "a dog walker", "a pilot",
        "a museum guard", "a translator", "a chef", "a receptionist", "a mechanic",
        "a data analyst")  # fmt: skip
TONES = ("funny", "solemn", "cheerful", "sad", "polite", "rhyming", "dramatic", "dry", "warm", "angry",
         "mysterious", "plain", "old-fashioned", "enthusiastic", "gentle", "sarcastic")  # fmt: skip
# everyday facts: each is a question as it stands
FACTS = (
    "Why is the sky blue?", "How do magnets work?", "Why do cats purr?", "What makes bread rise?",
    "How are rainbows made?", "Why do leaves fall in autumn?", "What is the capital of Canada?",
    "Who invented the telephone?", "How far away is the moon?", "Why is sea water salty?",
    "What do bees make honey from?", "How does a microwave heat food?", "Why do we yawn?",
    "What is the largest planet?", "How do birds know where to fly?",
    "What is the difference between a frog and a toad?",
    "Why do onions make us cry?", "How does soap clean?", "What causes an earthquake?",
    "Why is the Eiffel Tower famous?", "How long does it take to boil an egg?", "What is a leap year?",
    "Why do we dream?", "How do fish breathe?", "What is glass made of?", "Why does ice float?",
    "Which countries border Switzerland?", "What are clouds made of?", "How is paper made?",
    "Why do some people write with the left hand?", "What does a heart do?", "How do vaccines help?",
    "Why does the moon change its shape?", "What is the oldest sport?", "How do you tell a fake coin?",
    "Is a tomato a fruit?", "What is rust?", "How does a candle burn?", "Why are flamingos pink?",
    "What is jet lag?",
)  # fmt: skip
# short texts to sum up, rewrite or judge
GIVEN = (
    "The bus was late again, so I missed the start of the film and had to ask a stranger what had happened.",
    "Our shop closes at six on weekdays. On Saturday we are open until noon.",
    "I like my flat, but the walls are thin and the neighbour plays the trumpet.",
    "The committee met on Tuesday and agreed to paint the hall yellow, although two members wanted green.",
    "Water the plants twice a week. The cactus needs almost nothing.",
    "She opened the box, looked inside, and closed it at once.",
    "We regret to tell you that your parcel has been sent to the wrong town.",
    "Last summer was the hottest that the village had seen in fifty years, and the river ran dry.",
    "My phone fell into the sink. It works, but it makes strange noises.",
    "The museum shows two hundred clocks, and not one of them tells the right time.",
    "He who gets up early has a long day.", "Tomorrow's class is moved to room twelve. Bring your own paper.",
    "The new bridge was opened by the mayor, who forgot the scissors for the ribbon.",
    "I have been to the gym three times this year, and each time it was closed.",
    "Half of the apples were sour. We made juice of the rest.",
    "Please do not feed the ducks: bread makes them ill.",
)  # fmt: skip
