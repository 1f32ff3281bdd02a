"""The kinds of tools: what each is called and described as, asked, given and said after it."""

from app.demo.corpus.dice import Dice
from app.demo.corpus.grammar import pick
from app.demo.corpus.names import a_city, a_name
from app.demo.corpus.sums import numbers
from app.demo.corpus.tools import Json, Parameter, Tool
from app.demo.corpus.worked import result

_GET = ("get", "fetch", "check", "read", "look_up", "find", "show", "query")
_CITY = Parameter(("city", "location", "place", "town", "where"), "string", "city", "Name of the city")
_SKIES = ("sunny", "cloudy", "rainy", "snowy", "windy", "foggy", "clear", "stormy")
_UNITS = (
    ("meters", "feet", "inches", "miles", "kilometers", "yards"),
    ("kilograms", "pounds", "grams", "ounces"),
    ("liters", "gallons", "cups", "pints"),
    ("hours", "minutes", "seconds", "days"),
)
_LANGUAGES = ("Spanish", "French", "German", "Italian", "Dutch", "Polish", "Greek", "Russian", "Japanese", "Chinese")
_ROOMS = ("kitchen", "bedroom", "bathroom", "hall", "office", "garage", "garden", "cellar", "living room", "attic")
_ADJECTIVES = ("old", "small", "good", "cheap", "new", "famous", "quiet", "modern", "red", "easy", "fast", "wooden")
_THINGS = ("mills", "bridges", "recipes", "boats", "books", "clocks", "gardens", "trains", "lamps", "songs", "maps",
           "bicycles", "rivers", "museums", "cameras", "stories", "kites", "ovens")  # fmt: skip
_DEEDS = (
    "[call|visit|thank|help|meet|pay|write to] {who}",
    "[buy|bake|get] [bread|milk|apples|a cake|flour|eggs|tea|a new lamp]",
    "[clean|open|close|check|repair|paint] the [oven|window|door|boat|kitchen|garage|clock|bicycle]",
    "[feed|wash|find] the [cat|dog|horse|fish|duck]",
    "[take a walk|read a book|water the plants|charge the phone|pack the bag]",
    "take [the bus|the train|a photo|a nap|the keys|a break|a map]",
)
_NEWS = (
    "[I am|the train is|the bus is|dinner is|the guests are] [late|early|on time|ready|here|not here yet]",
    "I found [the key|the map|the book|your hat|a good place|the letter|an old lamp]",
    "the [meeting|concert|race|picnic|market] is [over|moved|tomorrow|on Monday|fun]",
    "we [won|lost|are here|are at home|leave soon|need more bread|have no milk]",
)


def _phrase(dice: Dice, options: tuple[str, ...]) -> str:
    return dice.draw("argument", lambda: pick(dice, options, {"who": a_name(dice)}))


def _clock(dice: Dice) -> str:
    return dice.draw("argument", lambda: f"{dice.randint(0, 23):02}:{dice.randint(0, 59):02}")


def _calculation(dice: Dice) -> Json:
    sign = dice.choice("+-*")
    left, right = numbers(dice, sign)
    if dice.random() < 0.7:
        left, right = dice.draw("large pair", lambda: (dice.randint(1000, 9999), dice.randint(11, 999)))
    return {"expression": f"{left} {sign} {right}", "result": result(left, sign, right)}


def _units(dice: Dice) -> Json:
    before, after = dice.sample(dice.choice(_UNITS), 2)
    return {"number": dice.draw("argument", lambda: dice.randint(2, 999)), "from": before, "to": after}


def _limits(dice: Dice) -> Json:
    low, high = dice.draw("argument", lambda: tuple(sorted(dice.sample(range(1, 200), 2))))
    return {"low": low, "high": high}


TOOLS: tuple[Tool, ...] = (
    Tool(
        verbs=_GET,
        nouns=("weather", "forecast", "current_weather"),
        described=("Get the weather in a city.", "Current weather for a place.", "The weather forecast of a city."),
        parameters=(_CITY,),
        roll=lambda dice: {"city": a_city(dice)},
        questions=(
            "[What is|What's|How is] the weather [like |]in {city}[ today| now|]?",
            "[Is it|Will it be] [raining|cold|warm|sunny|windy] in {city}[ today|]?",
            "How [warm|cold] is it in {city}?",
            "[Do I need|Should I take] an umbrella in {city}?",
            "[Tell me|Show me|I need] the weather [in|for] {city}.",
            "Weather in {city}[, please|]?",
        ),
        answer=lambda dice, _: {"temperature": dice.randint(-9, 38), "sky": dice.choice(_SKIES)},
        reply="It is {temperature} degrees and {sky} in {city}.",
    ),
    Tool(
        verbs=("", "get", "use", "run", "call"),
        nouns=("calculate", "calculator", "compute", "evaluate", "math"),
        described=("Compute a sum or a product.", "A calculator for numbers.", "Evaluate an expression."),
        parameters=(Parameter(("expression", "formula", "input", "calculation"), "string", "expression"),),
        roll=_calculation,
        questions=(
            "[What is|What's|How much is] {expression}?",
            "[Compute|Calculate|Work out] {expression}[, please|].",
            "[Can you calculate|Please compute] {expression}?",
            "I need the result of {expression}.",
        ),
        answer=lambda _, values: {"result": values["result"]},
        reply="{expression} = {result}",
    ),
    Tool(
        verbs=_GET,
        nouns=("time", "local_time", "current_time"),
        described=("Get the time in a city.", "The local time of a place.", "What time it is somewhere."),
        parameters=(_CITY,),
        roll=lambda dice: {"city": a_city(dice)},
        questions=(
            "What time is it in {city}[ now|]?",
            "[What is|What's] the [local |]time in {city}?",
            "[Tell me|I need|Show me] the time in {city}.",
            "Is it late in {city}?",
        ),
        answer=lambda dice, _: {"time": f"{dice.randint(0, 23):02}:{dice.randint(0, 59):02}"},
        reply="It is {time} in {city}.",
    ),
    Tool(
        verbs=("convert", "change", "turn", "transform"),
        nouns=("units", "unit", "measure", "value"),
        described=("Convert a number from one unit to another.", "Unit conversion.", "Change units."),
        parameters=(
            Parameter(("value", "number", "amount"), "number", "number"),
            Parameter(("from_unit", "from", "source"), "string", "from", "Unit of the value"),
            Parameter(("to_unit", "to", "target"), "string", "to", "Unit of the result"),
        ),
        roll=_units,
        questions=(
            "[Convert|Change] {number} {from} to {to}[, please|].",
            "How many {to} are {number} {from}?",
            "[What are|What is] {number} {from} in {to}?",
            "I have {number} {from}. How much is that in {to}?",
        ),
        answer=lambda dice, _: {"value": dice.randint(1, 9999) / 10},
        reply="{number} {from} are {value} {to}.",
    ),
    Tool(
        verbs=("search", "web", "find", "look_up", "query"),
        nouns=("web", "search", "pages", "internet", "online"),
        described=("Search the web.", "Find pages about something.", "A web search."),
        parameters=(Parameter(("query", "text", "q", "words", "terms"), "string", "query", "What to search for"),),
        roll=lambda dice: {
            "query": _phrase(dice, tuple(f"{word} {thing}" for word in _ADJECTIVES for thing in _THINGS))
        },
        questions=(
            "[Search|Search the web|Look] for {query}[, please|].",
            "[Find|Show me] [something|pages|information] about {query}.",
            "[Can you search|Please search] for {query}?",
            "Look up {query}.",
        ),
        answer=lambda dice, _: {"results": dice.randint(2, 90), "best": f"{a_name(dice)}'s Guide"},
        reply="I found {results} pages about {query}. The best is {best}.",
    ),
    Tool(
        verbs=("translate", "translator", "say", "put"),
        nouns=("", "text", "words", "sentence", "phrase"),
        described=("Translate a text.", "Translate words to another language.", "A translator."),
        parameters=(
            Parameter(("text", "sentence", "phrase", "words"), "string", "text", "The text to translate"),
            Parameter(("language", "target", "to", "target_language"), "string", "language"),
        ),
        roll=lambda dice: {"text": _phrase(dice, (*_NEWS, *_DEEDS)), "language": dice.choice(_LANGUAGES)},
        questions=(
            '[Translate|Please translate] "{text}" [to|into] {language}.',
            'How do you say "{text}" in {language}?',
            'What is "{text}" in {language}?',
        ),
        answer=lambda dice, _: {"translation": " ".join(a_name(dice).lower() for _ in range(dice.randint(2, 4)))},
        reply="In {language}: {translation}",
    ),
    Tool(
        verbs=("set", "add", "create", "make", "new"),
        nouns=("reminder", "alarm", "note", "todo"),
        described=("Set a reminder.", "Remember something for a certain time.", "Add a reminder with a time."),
        parameters=(
            Parameter(("text", "what", "message", "title"), "string", "deed", "What to remember"),
            Parameter(("time", "at", "when"), "string", "time", "Time as HH:MM"),
        ),
        roll=lambda dice: {"deed": _phrase(dice, _DEEDS), "time": _clock(dice)},
        questions=(
            "Remind me to {deed} at {time}[, please|].",
            "[Set|Add] a reminder for {time}: {deed}.",
            "At {time} I have to {deed}. Remind me[, please|].",
        ),
        answer=lambda *_: {"status": "ok"},
        reply="Done. I will remind you to {deed} at {time}.",
    ),
    Tool(
        verbs=("send", "write", "post"),
        nouns=("message", "email", "text", "mail"),
        described=("Send a message to somebody.", "Write to a person.", "Send a short text."),
        parameters=(
            Parameter(("to", "recipient", "person", "name"), "string", "who", "Who gets it"),
            Parameter(("text", "body", "message", "content"), "string", "news"),
        ),
        roll=lambda dice: {"who": a_name(dice), "news": _phrase(dice, _NEWS)},
        questions=(
            "[Tell|Write to] {who} that {news}.",
            "Send {who} a message: {news}.",
            "[Let {who} know|Please tell {who}] that {news}.",
            "Message to {who}: {news}",
        ),
        answer=lambda *_: {"sent": True},
        reply="Your message to {who} is sent.",
    ),
    Tool(
        verbs=("set", "switch", "control", "turn", "change"),
        nouns=("light", "lights", "lamp", "lamps"),
        described=("Turn a light on or off.", "Control the lights of a room."),
        parameters=(
            Parameter(("room", "where", "area"), "string", "room"),
            Parameter(("state", "mode", "switch"), "string", "state", options=("on", "off")),
        ),
        roll=lambda dice: {"room": dice.choice(_ROOMS), "state": dice.choice(("on", "off"))},
        questions=(
            "[Turn|Switch|Please turn] {state} the light in the {room}.",
            "Lights {state} in the {room}[, please|].",
            "[Turn|Switch] the {room} light {state}.",
        ),
        answer=lambda *_: {"done": True},
        reply="The light in the {room} is {state}.",
    ),
    Tool(
        verbs=("random", "pick", "draw", "roll"),
        nouns=("number", "integer", "dice", "random"),
        described=("A random number between two limits.", "Draw a random number."),
        parameters=(
            Parameter(("min", "low", "from", "start"), "integer", "low", "Smallest number"),
            Parameter(("max", "high", "to", "end"), "integer", "high", "Largest number"),
        ),
        roll=_limits,
        questions=(
            "[Give me|Pick|Draw] a [random |]number [between {low} and {high}|from {low} to {high}].",
            "[Can you pick|I need] a random number between {low} and {high}[.|?]",
        ),
        answer=lambda dice, values: {"number": dice.randint(values["low"], values["high"])},
        reply="Your number is {number}.",
    ),
)
