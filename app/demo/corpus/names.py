"""Names of people and places: real ones, and made-up ones, so that a name must be read and cannot be known."""

from app.demo.corpus.dice import Dice

_FIRST_NAMES = (
    "Alex Alice Amir Anna Ben Bob Carol Chen Clara Dana David Diego Elena Emma Eric Eva Felix Fatima Grace Hana "
    "Hugo Igor Ines Ivan Jack Jane John Julia Karl Kate Kim Lara Leo Lily Lucas Luis Maria Mark Max Mei Mia Nadia "
    "Nina Nora Olga Omar Oscar Paul Peter Priya Raj Robin Rosa Ruth Sam Sara Sofia Tim Tom Uma Vera Victor Will "
    "Yuki Zoe Adam Agnes Ahmed Aisha Albert Anton Arthur Astrid Aya Bella Bianca Boris Bram Camila Carlos Cecilia "
    "Chloe Daniel Dora Edgar Edith Ella Emil Erik Esther Fiona Frank Freya George Gina Greta Gustav Hans Harry "
    "Helen Henry Ida Ingrid Iris Isaac Jakob Jasmin Joel Jonas Joseph Kai Karim Kiran Laura Lena Liam Linda Lina "
    "Lotte Louis Luca Lucy Magda Malik Marco Marta Matteo Maya Milan Mira Mona Naomi Nils Noah Olive Otis Pablo "
    "Pedro Petra Pia Quentin Rafael Rita Romy Rufus Salma Samir Selma Simon Stella Sven Tara Theo Tilda Tobias "
    "Ulla Ursula Viola Vivian Walter Wanda Xenia Yara Yusuf Zara Zeno"
)
_CITIES = (
    "Paris London Berlin Rome Madrid Lisbon Vienna Prague Warsaw Oslo Stockholm Helsinki Copenhagen Dublin Athens "
    "Budapest Zurich Geneva Munich Hamburg Cologne Milan Naples Venice Florence Turin Lyon Nice Marseille "
    "Bordeaux Barcelona Seville Valencia Porto Amsterdam Rotterdam Brussels Antwerp Tokyo Osaka Kyoto Seoul "
    "Beijing Shanghai Delhi Mumbai Chennai Bangkok Hanoi Manila Jakarta Singapore Sydney Melbourne Perth Auckland "
    "Cairo Nairobi Lagos Accra Tunis Casablanca Toronto Montreal Vancouver Boston Chicago Denver Seattle Houston "
    "Dallas Miami Atlanta Phoenix Portland Austin Havana Lima Bogota Quito Santiago Istanbul Ankara Izmir Tehran "
    "Dubai Riyadh Karachi Lahore Dhaka Moscow Kyiv Riga Vilnius Tallinn Sofia Bucharest Belgrade Zagreb Krakow "
    "Bergen"
)
_STARTS = "A E I O U B Br C Ch D Dr F Fl G Gr H J K Kl L M N P Pr Qu R S Sh Sk St T Th Tr V W Y Z"
_VOWELS = "a e i o u a e i o ai ea ei ou"
_MIDDLES = "b d f g k l ll m n nd nt p r rr s sh st t v z rl lm"
_ENDS = ("", "", "", "n", "l", "r", "s", "th", "m", "ra", "no", "la", "x", "ck", "na", "ta")
_TOWN_ENDS = ("burg", "ville", "ton", "ford", "ham", "stad", "dorf", "field", "port", "mouth", "by")

FIRST_NAMES = tuple(_FIRST_NAMES.split())
CITIES = tuple(_CITIES.split())
_SYLLABLES = tuple(tuple(parts.split()) for parts in (_STARTS, _VOWELS, _MIDDLES, _VOWELS, _MIDDLES, _VOWELS))


def made_up_name(dice: Dice) -> str:
    """A name that nobody has; now and then it begins like one that somebody has."""
    if dice.random() < 0.15:
        return dice.one_of("name", FIRST_NAMES) + dice.choice(_MIDDLES.split()) + dice.choice(_VOWELS.split())
    return "".join(map(dice.choice, _SYLLABLES[: dice.choice((4, 4, 4, 6))])) + dice.choice(_ENDS)


def a_real_name(dice: Dice) -> str:
    """Somebody's name, of this side."""
    return dice.one_of("name", FIRST_NAMES)


def a_name(dice: Dice) -> str:
    """A real name or a made-up one. What the model thinks up itself has real ones: greedily, others never end."""
    return a_real_name(dice) if dice.random() < 0.5 else dice.draw("name", lambda: made_up_name(dice))


def a_real_city(dice: Dice) -> str:
    """The name of a city, of this side."""
    return dice.one_of("name", CITIES)


def a_city(dice: Dice) -> str:
    """A real city or a made-up one."""
    if dice.random() < 0.5:
        return a_real_city(dice)
    return dice.draw("name", lambda: made_up_name(dice) + dice.choice(_TOWN_ENDS))
