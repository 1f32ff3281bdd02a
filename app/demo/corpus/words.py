"""Everyday words, for what must be read and cannot be known: to repeat, to spell, to sort, as keys and as names."""

_WORDS = (
    "ant arm axe back bag ball band bank bath bean bed bee belt bench bike bone bow box brick broom brush bucket cake "
    "camel camp candle cap car card cart castle cat chain chair cherry city clay clock coat coin corn cow crab cup "
    "desk dish dog door dust eagle ear earth east eye farm fence field finger fire flag floor flour fog foot fork "
    "glass glove goat gold goose grape grass hammer hand head heart hen herb honey hook house ice ink iron island "
    "jar kettle king kitten knee knife knot lake lamb lamp leg lemon letter lid line lion lip lock log man mask "
    "meal melon mirror moon mouse mouth nail neck needle nest net night north nose nut oar ocean onion oven owl "
    "paint pan peach pear pen pencil pepper piano pig pillow pine pipe plant plate plum pond pot pump queen rabbit "
    "radio rice road roof root rope rose sack salt sand saw seed sheep shelf shell ship shirt shoe silk sky sleep "
    "snail soap sock song spoon spring square stair stick storm straw street string sugar swan sword tail tent "
    "thread tiger toe tomato tooth tower town toy train tray truck tub tulip valley vase violin voice wagon watch "
    "wave wax wheat whistle wind wing wolf wood wool yard zebra "
    "apple river stone cloud lantern token stream mill wheel garden fox bell green seven window paper bread morning "
    "kite water silver bridge cache music table winter small light road flower hat boat one two three red blue bear "
    "key drum map ring book ball flute golden white shiny horse duck robot dragon frog turtle girl boy baker sailor "
    "garden village sea forest hill oak well barn kitchen wall sun star rain snow tree leaf fish bird egg milk soup tea"
)
WORDS = tuple(dict.fromkeys(_WORDS.split()))
