"""Plots: each is a row of beats, and each beat is a choice of sentences that agree with all the others."""

OPENINGS = (
    "Once upon a time, a {trait} {hero_kind} named {hero} lived {place}.",
    "Once upon a time there was a {trait} {hero_kind} named {hero}. {hero} lived {place}.",
    "There once was a {trait} {hero_kind} who lived {place}. The name of the {hero_kind} was {hero}.",
    "Long ago, a {trait} {hero_kind} called {hero} lived {place}.",
    "{hero} was a {trait} {hero_kind} who lived {place}.",
)

PLOTS: dict[str, tuple[str, ...]] = {
    "gift": (
        "One [morning|day], {hero} found a {color} {thing} [on the path|in the grass|under a leaf].",
        '"[Whose {thing} is this|Who has lost this {thing}]?" {hero} [asked|wondered].',
        "{hero} [walked|went] from door to door, but nobody knew[| the answer].",
        'At last {hero_he} met {friend}, a {friend_kind} who was crying. "I have lost my {thing}," said {friend}.',
        "{hero} smiled and gave {friend_him} the {color} {thing}. {friend} [laughed for joy|jumped for joy].",
        "From that day on, {hero} and {friend} were [the best of friends|good friends].",
    ),
    "storm": (
        "One evening a great storm came. The wind [howled|roared], and the rain fell [hard|all night].",
        (
            "{hero} heard a [weak|small] voice outside. It was {friend}, a {friend_kind}, and {friend_he} was "
            "cold and wet."
        ),
        '"Please come in," said {hero}. {hero_he} lit a fire and made [hot soup|warm tea|some soup].',
        "They sat together and told stories until the storm was over.",
        "In the morning the sun [was shining|came out], and {friend} gave {hero} a {color} {thing} to say thank you.",
        "{hero} kept the {thing} for ever, and whenever it rained, {hero_he} thought of {friend}.",
    ),
    "making": (
        "{hero} wanted [to make|to build] a {thing}, but {hero_he} did not know how.",
        "{hero_he} tried once, and it broke. {hero_he} tried again, and it broke again.",
        (
            "Then {friend}, a {friend_kind} with [clever|quick|patient] hands, came by. "
            '"[Let me help you|We can do it together]," said {friend}.'
        ),
        "They worked all day. {hero} held the pieces, and {friend} put them together.",
        "In the evening the {thing} was ready. It was {color} and [beautiful|strong].",
        '"We made it together," said {hero}, "so it belongs to both of us."',
    ),
    "river": (
        "One day, {hero} saw something {color} in the river. It was a {thing}, and the water was carrying it away.",
        "{hero} ran along the river, but the water was [faster|too fast].",
        '"Help me!" called {hero}. A {friend_kind} named {friend} heard {hero_him} and [ran to the bank|jumped up].',
        "{friend} held out a long branch, and the {thing} stopped. {hero} pulled it out of the water.",
        '"Thank you, {friend}," said {hero}. "Alone I was too slow, but together we were fast enough."',
        "Then they sat down in the sun and [shared some bread|ate apples] until the {thing} was dry.",
    ),
    "fear": (
        "{hero} was afraid of the dark. Every night {hero_he} [hid under the blanket|lay awake].",
        (
            '{hero_his} friend {friend}, a {friend_kind}, had an idea. "Take my {color} {thing}," said {friend}. '
            '"It will keep you safe."'
        ),
        ("That night {hero} held the {thing} and looked out of the window. The dark was full of stars."),
        '"The dark is not bad," {hero} thought. "It is only quiet."',
        'The next day {hero} gave the {thing} back. "I do not need it any more," {hero_he} said.',
        "{friend} smiled, for it had only been a {thing} all along.",
    ),
    "race": (
        'One day, {friend} the {friend_kind} said, "I am faster than you, {hero}. Let us race to the [bridge|mill]!"',
        "They ran, and {friend} was soon far ahead.",
        "But on the way {friend} saw a {color} {thing} and stopped to look at it.",
        "{hero} did not stop. {hero_he} went on, step by step, and came first.",
        '{friend} was sad, so {hero} said, "You are the faster runner. I only did not stop."',
        "They laughed, and then they went back together to get the {thing}.",
    ),
}

SEARCH_START = (
    "{hero} had a {color} {thing}, and {hero_he} loved it very much. One day it was gone.",
    "One morning, the {color} {thing} of {hero} was missing.",
)
SEARCH_MISS_FIRST = (
    "{hero} looked {spot}, but the {thing} was not there.",
    (
        'First to help was the {guide_kind} {guide}. "Look {spot}," said {guide}. {hero} looked, but found only '
        "[leaves|dust|an old shoe|a sleepy snail]."
    ),
)
SEARCH_MISS_AGAIN = (
    "Then {hero_he} searched {spot}. There was no {thing}.",
    "{guide} the {guide_kind} helped to look {spot}, but they found nothing.",
)
SEARCH_FIND = (
    (
        "At last {hero} looked {spot}, and there it was: the {color} {thing}! {friend} the {friend_kind} had found it "
        "and was keeping it safe."
    ),
)
SEARCH_END = (
    '"Thank you, {friend}," said {hero}. They went home together, and {hero} never lost the {thing} again.',
    "{hero} was so happy that {hero_he} let {friend} play with the {thing} all day.",
)

TRADE_START = ("{hero} wished for a {color} {thing}, but {hero_he} had only {first}.",)
TRADE_STEP = (
    "{hero_he} met {guide} the {guide_kind}, who needed {given}. So {hero} gave {guide} {given} and got {got}.",
    'On the road stood {guide}, a {guide_kind}. "I will give you {got} for {given}," said {guide}, and {hero} agreed.',
)
TRADE_END = (
    (
        "At last {hero} came to {friend} the {friend_kind}, who had a {color} {thing}. "
        '"I need {given}," said {friend}. So they traded, and both were happy. {hero} carried the {thing} home.'
    ),
)
GOODS = ("an apple", "a rope", "a loaf of bread", "a pot of honey", "a warm coat", "a bag of nuts", "a wooden spoon",
         "a basket", "a candle", "a jar of jam")  # fmt: skip
