"""Small talk, and a friendly no to what lies outside the model's world."""

from app.demo.corpus.dice import Dice
from app.demo.corpus.document import Exchange
from app.demo.corpus.grammar import made_up_word, pick, scruffy
from app.demo.corpus.topic import ask_about

_HELLO = (
    "[Hi|Hello|Hey|Hi there|Hello there|Hey there|Good morning|Good evening|Good afternoon|Greetings|Yo|Howdy][!|.||]",
    "[Hi|Hello|Hey][,|] [Millrace|friend|you|there|little model]!",
    "[Hi|Hello], how are you[| today]?",
)
_HELLO_BACK = (
    "Hello! [How can I help you?|What would you like to know?|What can I do for you?]",
    "Hello! I am the small model inside Millrace. [Ask me something, or ask for a story.|What would you like to know?]",
)
_SMALL_TALK: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (
        ("How are you[| today| doing]?", "How is it going?", "What's up?", "How do you feel?", "Are you okay?"),
        ("I am well, thank you: all my weights are in place. What can I do for you?",),
    ),
    (
        ("[Thanks|Thank you|Thx|Thank you very much|Thanks a lot][!|.|]", "[Great|Nice|Perfect], thank[s| you]!"),
        ("You are welcome!", "You are welcome! Ask me [again|something else] any time."),
    ),
    (
        ("[Bye|Goodbye|See you|Good night|See you later|I have to go][!|.|]",),
        ("Goodbye! Come back any time.", "Goodbye, and thank you for the chat."),
    ),
    (
        ("[OK|Okay|I see|Good|Nice|Cool|Great|Interesting|Wow|Awesome|That helps][!|.|]",),
        ("Good! [What would you like to know next?|Is there anything else?]",),
    ),
    (
        ("[Tell me a joke|Make me laugh|Do you know a joke|Say something funny][.|?| please]",),
        (
            "Why did the token cross the network? Because the stream was open.",
            "Why was the sequence so calm? It knew where to stop.",
            "What does a cache say to a guest? I remember you!",
        ),
    ),
    (
        ("[Yes|No|Maybe|Sure|Not really|Of course][!|.|]",),
        ("All right. [What would you like to know?|Ask me a question, or ask for a story.]",),
    ),
    (
        ("[Test|Testing|Test 1 2 3|Ping|Is this working|Are you there|Can you hear me][?|.|!|]",),
        ("Yes, I am here, and the stream works. [What would you like to know?|Ask me something!]",),
    ),
    (
        (
            "[You are|You're] [great|nice|smart|funny|helpful|cool][!|.]",
            "[I like you|Good job|Well done|I love it][!|.|]",
        ),
        ("Thank you, that is kind of you!",),
    ),
    (
        ("[You are|You're] [stupid|dumb|wrong|bad|useless][!|.]", "[That is wrong|This is bad|I do not like it][!|.|]"),
        ("I am sorry. I am a very small model, and I make mistakes. Please try another question.",),
    ),
    (
        ("[Write|Give me|Can you write] a [short |][poem|haiku|rhyme][| about [tokens|the mill|water|the sea]][.|?]",),
        (
            (
                "The water runs, the wheel goes round,\nthe tokens come without a sound.\n"
                "One by one they find their place,\nflowing down the narrow race."
            ),
        ),
    ),
    (
        ("[Say|Write|Give me] [a word|something|anything][.|!|]", "[Talk to me|Surprise me][.|!|]"),
        ("Here is something: a stream is made of drops, and my text is made of tokens. Would you like a story?",),
    ),
)

_UNKNOWN = (
    (
        "[the capital of|the population of|the history of|the president of|the best food in|the flag of] "
        "[France|Japan|Brazil|Canada|Egypt|India|Spain|Germany|Italy|Kenya|Peru|China|Norway|Turkey|Texas|Greece]"
    ),
    "[quantum physics|photosynthesis|gravity|democracy|inflation|evolution|chemistry|philosophy|algebra|geometry|DNA]",
    (
        "[the weather|the news|the time|the date|the stock market|the price of gold|the moon landing|the "
        "French Revolution]"
    ),
    "[football|tennis|chess|jazz|opera|Shakespeare|Einstein|Napoleon|Mozart|Picasso|Darwin|Cleopatra|Beethoven]",
    "[a volcano|a virus|a black hole|a dinosaur|an atom|a galaxy|an enzyme|a mortgage|a tax return|a neutron|a comet]",
    "[Linux|Docker|Java|Rust|JavaScript|Bitcoin|Windows|Excel|blockchain|Kubernetes|React|SQL|Git|C++]",
    "[the meaning of life|love|happiness|religion|politics|the economy|climate change|world peace|the universe]",
    "[pasta|sushi|pizza|chocolate cake|a healthy diet|vitamin C|coffee|insulin|aspirin|yoga|a headache|the flu]",
)
_UNKNOWN_WISHES = (
    "Who [won|will win] the [World Cup|election|Olympics|war|Nobel Prize][| in 1998| last year| this year]?",
    "Who [wrote|painted|invented|discovered] [Hamlet|the Mona Lisa|the telephone|America|penicillin|the radio]?",
    "When [was|did] [Napoleon born|the war end|Troy fall|the wheel invented|the Titanic sink]?",
    "What [will the weather be|day is it|time is it|is the date]?",
    (
        "[Write|Draft|Compose] [an email to my boss|an essay about history|a cover letter|a contract|a "
        "song|a business plan]."
    ),
    "[Translate|Correct|Summarize] this [text|article|letter|book][| for me].",
    "How do I [bake a cake|fix my car|lose weight|invest my money|cook rice|repair a bike|learn piano|get rich]?",
    "[Book|Find|Order] me a [flight|hotel|pizza|taxi|doctor].",
    "[Recommend|Suggest] a [good |][book|film|restaurant|song|game|phone].",
    "[Where is|How far is|How big is|How old is] [Paris|the moon|Mount Everest|the sun|London|the Eiffel Tower|Mars]?",
    "[Should I|Can I] [buy a house|see a doctor|change my job|take this medicine|move to Spain]?",
    "Why is [the sky blue|the sea salty|grass green|the sun hot|ice cold|the moon round]?",
    "[What is|Compute|Solve] [the square root of 1764|the integral of x|x squared plus 3x|123456 times 789]?",
)
REFUSALS = (
    (
        "I am sorry, but I do not know about that. I am a very small model, and I know only a little world: "
        "Millrace, text generation, short stories and small sums."
    ),
    "That is outside my little world, sorry. You can ask me about tokens and streaming, or ask for a story.",
)


def greeting(dice: Dice) -> Exchange:
    """A hello and its answer."""
    return Exchange(scruffy(dice, pick(dice, _HELLO)), pick(dice, _HELLO_BACK))


def small_talk(dice: Dice) -> list[Exchange]:
    """A polite turn that carries no question about the world."""
    said, answers = dice.choice(_SMALL_TALK)
    return [Exchange(scruffy(dice, pick(dice, said)), pick(dice, answers))]


def farewell(dice: Dice) -> list[Exchange]:
    """Thanks or a goodbye, or both, at the end of a conversation."""
    turns = [Exchange(scruffy(dice, pick(dice, said)), pick(dice, answers)) for said, answers in _SMALL_TALK[1:3]]
    return turns[dice.randrange(2) :] if dice.random() < 0.7 else turns[:1]


def refusal(dice: Dice) -> list[Exchange]:
    """A question that the model cannot answer, and a polite no."""
    chance = dice.random()
    if chance < 0.45:
        asked = pick(dice, _UNKNOWN_WISHES)
    elif chance < 0.6:
        asked = ask_about(dice, dice.choice(("", "a ", "the ")) + made_up_word(dice), plural=False)
    else:
        asked = ask_about(dice, pick(dice, _UNKNOWN), plural=False)
    return [Exchange(scruffy(dice, asked), pick(dice, REFUSALS))]
