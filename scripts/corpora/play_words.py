"""The words of play_grammar.py. No word of a list is a prefix of another word of the list.

N1 are nouns of one stressed syllable. N2 and A2 are nouns and adjectives of two syllables, the
first one stressed. P2 are prepositions of two syllables, the second one stressed. The words of N1,
N2 and A2, the rhymes and the prefixes begin with consonants: their indefinite article is "a".
"""

WORDS = {
    "N1": """
        duke pig bell ghost plum queen drum frog sword cheese leek wig crown church goose
        worm pie stork fox judge priest cake mule thumb trunk stove quill harp flute broom
        tooth cloud ship corpse nun thief nurse clerk cow hen swan toad wasp scarf tongue
        chin witch bride groom sheep grape beard cart bowl bench spy mole jug desk coin
        cloak yacht drake lute skull bridge chef maid squire bull crab slug trout moth plank
        lamp scroll pump stool glove boot rug tart mask helm sponge gong clown hound""",
    "N2": """
        candle pudding bishop lobster teapot donkey dragon sermon pillow kettle barrel
        waistcoat trumpet magpie sailor cousin tailor baker widow monkey ladder cabbage
        parrot turnip carpet doctor poet tyrant sausage herring button walrus mirror coffin
        feather garden hammer lantern rabbit saddle weasel butler pepper jester pirate
        beggar hermit cactus camel panther beetle badger lizard gibbon bucket bottle muffin
        dumpling pickle tunic bonnet curtain cellar tower prophet ferret penguin""",
    "N3": """
        umbrella accordion elephant anvil orange oyster owl archbishop cucumber ambassador
        onion envelope mandolin rhinoceros pineapple tambourine grandmother magistrate
        acrobat apricot hippopotamus ostrich astronomer undertaker cauliflower moustache
        octopus professor crocodile detective chandelier avocado governess executioner
        alligator asparagus""",
    "A2": """
        golden bitter foolish gloomy noble rotten tender wicked silver haunted lonely
        crooked humble jealous portly drunken holy hollow velvet frozen purple sudden famous
        modest royal stubborn dreadful powdered borrowed sleepy silent married hairy lazy
        nervous pious rusty secret shabby tragic vulgar wooden cunning double fatal greasy
        naked second hungry thirsty dusty mouldy sticky frantic pompous ragged
        spotted tiny salty solemn nimble mighty guilty distant""",
    "ODD": """
        old fat cold wise small proud blind mad unpaid pale stout damp fierce elegant bald
        innocent enormous buttered imported unlucky talkative ancient philosophical
        suspicious reluctant magnificent delicate ridiculous invisible impatient respectable
        amphibious sarcastic flammable upholstered retired melancholy illegal unmarried
        expensive""",
    "COMPARATIVE": """
        prouder wiser colder fatter madder sadder thinner duller louder sweeter balder
        damper kinder ruder quicker slower taller shorter richer poorer warmer softer
        stranger braver""",
    "PAST": """
        kissed lost sold fed wed blessed cursed chased drowned praised wooed bribed fried
        dropped taught fought caught bought sued pinched robbed burned blamed nursed tricked
        shaved greased mourned trained fetched scorned pawned hugged stabbed boiled stuffed
        licked hanged crowned slapped dressed drugged warmed groomed framed nudged mocked
        cured teased combed scrubbed tugged thanked sketched shocked pushed plucked healed
        hired jailed carved smelled pleased snubbed squeezed""",
    "TRANSITIVE": """
        love fear hate keep hide dread scorn serve blame pinch kiss marry insult flatter
        polish inherit imitate worship bury trust adopt borrow admire punish tickle swallow
        defend forgive remember arrest educate amuse betray comfort obey pester respect
        suspect wash applaud""",
    "INTRANSITIVE": """
        weep snore pray dream burn wait sulk hum cheat faint limp grin
        yawn melt rust sing cough swear starve gloat snort yelp float""",
    "P2": "upon beneath behind beside before against without inside around above",
    "prefix": """
        snow mud war tax night bread wind moon butter rain soup dust salt garlic county parish
        river funeral midnight breakfast puppet sofa thunder wedding velvet gravy pocket
        marsh hobby sewer Sunday""",
    "place name": """
        Mud Grim Toller Puddle Salt Wibble Gloam Dribble Snore Crum Fog Gravy Hob Nettle Otter Quag
        Rook Stum Thistle Under Wort Badger Clam Yawn Lox Ember Ink Zed Jolly Vole Elm""",
    "place ending": """
        by wich ford ham ton minster stead worth ley pool bury mouth combe gate cliff marsh""",
    "ABSTRACT": "love grief pride hope wealth fame sleep shame truth wit",
    "COUNT": "two three four five six seven nine eleven twelve forty eighty",
    "ADVERB": "louder longer harder faster slower sooner deeper better",
}
RHYMES = {  # words that end the first line of a couplet, and words that end the second
    "ight": ("night knight light height", "kite fright bite fight"),
    "ee": ("sea plea knee key", "bee tree flea pea"),
    "oon": ("moon spoon prune dune", "tune loon goon swoon"),
    "at": ("cat hat bat rat", "mat gnat vat brat"),
    "air": ("chair bear stair hare", "pear mare snare lair"),
    "ale": ("whale snail tale pail", "nail gale sail veil"),
    "ing": ("king ring string wing", "sling thing fling spring"),
    "ed": ("bed head thread shred", "shed sled tread spread"),
    "oat": ("goat boat coat throat", "moat stoat note vote"),
    "ock": ("clock sock lock rock", "flock dock shock frock"),
    "ouse": ("mouse house louse", "spouse grouse blouse"),
    "ine": ("spine swine vine shrine", "line mine sign shine"),
}
PHRASES = {
    "trade sg": "a spy|a poet|a dentist|in love|an orphan|made of wax|three owls in a coat|bald",
    "trade pl": "spies|poets|dentists|in love|orphans|made of wax|six owls in a coat|bankrupt",
    "coin": "penny|groat|ducat|florin|farthing|shilling",
    "aux": "has|had|once",
    "place": """A <A2> kitchen in <town>|The roof of the <A2> <N1>|A ship made of <nouns>|
        <Count> miles from <town>|The inside of <a noun>|A <A2> court of law|
        Before the gates of <town>|A shop that sells <nouns>""",
    "time": """at midnight|at dawn|in the rain|after supper|during a war|on a Tuesday|
        long before the <noun>|by the light of <a noun>""",
    "ending": """dancing|in tears|with the <noun>|quarrelling|as the <N1> <iv sg>|
        chased by <nouns>|carrying <a odd noun>|bound for <town>""",
}
