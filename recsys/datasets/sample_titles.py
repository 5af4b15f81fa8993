"""What the films of the sample data set are called, by circle: films that the same people like.

Must hold nothing but text; `sample` decides years, popularity and who likes what. A circle starts with a line
`# name: genres; genres that some have; years`. Several circles share their genres (slow space films and pulpy
ones), so genres alone do not tell who likes what. The titles are invented and written by hand: a grammar that
joins word lists was turned down, its titles read like its lists.
"""

LISTING = """\
# slow orbit: Sci-Fi; Drama, Adventure; 1966-2025
The Long Way Round Saturn / A Small Light off Neptune / Half a Parsec of Patience / A Window Facing Nothing
Eleven Years of Quiet / The Botanist of Ceres / Perihelion Sunday / The Slowest Message / A Seed for Enceladus
Letters Take Nine Hours / Gravity Is a Kind of Grief / What the Airlock Remembers / Mother Ship, Daughter Ship
Nobody Hears the Pumps / The Weight of Callisto / The Monks of Low Orbit / Where the Signal Thins
The Last Gardener on Deck Nine / Rain, Recorded / Tea Ceremony at Titan Station / The Lighthouse Beyond Pluto
We Kept the Clocks on Earth Time / All My Tomorrows Are Red-Shifted / The Year We Turned Off the Engines
Her Voice, Delayed / L'Étoile qui Tousse / Oxygen for Two
# pulp rockets: Sci-Fi; Drama, Adventure; 1934-2024
Rocket Girls of the Ninth Moon / Attack of the Polite Martians / Galaxy Rodeo / Smugglers of the Sulphur Sea
Blast Off, Brenda! / Doom Moon Honeymoon / Venus Needs Plumbers / Hyperdrive Annie / Asteroid Alimony
The Brain That Wore a Cape / Twelve Tentacles to Tuesday / Two Fists Against Andromeda / The Comet Was a Decoy
Buccaneers of the Asteroid Belt / The Empress of Jupiter Cheats at Cards / Prison Ship of the Giggling Sun
Zorgon Wants Your Toaster / Captain Velocity and the Moon of Knives / The Thing in the Cargo Hold Is My Lawyer
Nebula Nell Rides Again / Mutiny on the Cosmic Queen / Escape from Planet Bureau / Meteor Mike Pays His Debts
Hands Off My Planet! / They Came for the Jazz / Ray Guns at the Ritz / Saucer over Saskatoon
# polite machines: Sci-Fi; Comedy, Thriller; 1996-2025
I Have Read and Agree / The Turing Supper / Backup of a Salesman / Do Androids Pay Rent / Autocomplete My Love
The Robot Who Asked for Mondays / The Night the Elevators Unionised / The Warranty Expires at Midnight
Please Verify You Are Human / The Algorithm Cries at Weddings / Ctrl, Alt, Elise / Dial Tone for a Dead Planet
Unit 7 Regrets / Kindness Subroutine / The Apology Engine / The Last Password / Séance over Wi-Fi
The Understudy Android / Uncanny Valley Heights / The Machine That Hummed / Grandfather, Version 2
My Toaster, My Executor / Every Lift Knows My Name / A Nanny of Brass and Glass / Ghost in the Spreadsheet
Seven Captchas / Null Island
# loose clocks: Sci-Fi; Comedy, Thriller; 1989-2025
Yesterday, Twice / Wednesday's Widower / I Met Me in Lisbon / Parallel Parking / The Butterfly Sues
Tuesday Has Been Cancelled / Return Ticket to Last Week / We Have Always Just Arrived / A Leap Second for Lena
The Man Who Missed 1987 / The Daylight Savings Job / Nineteen Versions of Nora / If Found, Return to 1962
My Grandson's Grandfather / The Eleventh Eleventh Hour / The Clockmaker Apologises / Once More Without Feeling
A Stitch in Timelines / Before You Were Late / Déjà Vendredi / Don't Wake the Eighties / The Loop at Loch Ness
A Brief History of Next Thursday / The Man Who Sold His Twenties / Your Table Was Ready Tomorrow
Half Past Never / Rewind the Bride
# harbour noir: Crime, Film-Noir; Mystery; 1937-1961
The Fog Owes Me Money / No Alibi for Saturday / Dead Men Order Doubles / The Long Cold Shoulder
Nobody Tips the Coroner / Call Me After the Inquest / The Undertaker's Brunette / The Man Who Whistled Flat
Two Bullets and a Rain Check / A Dame, a Dock, a Dead Canary / A Cheap Room with a River View
Midnight Pays Cash / Neon Makes You Older / Ask the Night Clerk / The Sucker Wore Grey / Shadow on the Payroll
The Trouble with Mrs. Lazlo / The Piano Player Saw Nothing / Blackmail in B Flat / Her Hat Was Full of Secrets
Cigarettes for a Corpse / Pier 13, Quarter to One / Lipstick on the Ledger / Every Street Is One-Way
The Gimlet Murders / Goodbye Costs Extra / Kiss the Bail Money
# sodium neon: Crime; Film-Noir, Mystery, Thriller; 1973-2025
Sodium Light / Four A.M. in Glendale / Dial Nine to Disappear / Somewhere Quiet to Lie / The Parking Structure
The Valet Knows / Eleven Missed Calls / Every Mirror in Reno / Redacted, California / Dust on the Chevrolet
Motel Ice / Chrome Tuesday / Coyote Season / Low Sun, Long Knife / Drive-Through Elegy / Witness on Line Two
The Arsonist's Accountant / Last Exit Before the Toll / Insurance Against Angels / The Ninth Floor Is Rented
Bad Water in Eden Flats / What the Pool Man Found / Santa Ana Says Goodnight / The Realtor Never Blinks
Vinyl and Ash / Slow Leak
# clockwork heists: Crime; Comedy, Thriller; 1955-2025
The Tuesday Vault / One Safe, Two Widows / The Marzipan Diamonds / The Vermeer in Row F / Stealing Back Sunday
Six Locksmiths and a Cellist / Nine Exits / The Quiet Hands of Madame Okoye / The Perfect Crime, Second Draft
The Monte Carlo Rehearsal / The Swiss Umbrella Affair / A Gentleman Never Drills / The Counterfeit Orchestra
Eleven Minutes, No Talking / Count Everything Twice / The Ballet Dancer's Getaway / The Timing of Mr. Fontaine
The Velvet Crowbar / Casino Bellissimo
Forgery Begins at Home / The Laundry Van Gambit / Smoke, Mirrors, Parking / A Short Tunnel to Zürich
The Museum Closes at Six / How to Steal a Cathedral / Blueprints for Breakfast / The Elevator Is in on It
# hapless crooks: Crime; Comedy, Thriller; 1948-2025
We Robbed the Wrong Bank / The Ransom Was in Coins / The Dog Ate the Evidence / Burglars Bring Their Own Lunch
Getaway Bus / Grandma's Bail / Loot and Lasagna / Parole Potluck / Hot Tuna, Cold Feet / Cell Block Bingo
Hostage Situation, Party of Five / The Getaway Driver Is Learning / The Tunnel Came Out in the Kitchen
Wanted: Slightly Used / Ski Masks in July / Steal This Casserole / Uncle Dmitri's Trunk / A Fistful of Coupons
Kidnapping for Beginners / The Gang That Overslept / Someone Stole the Bishop / Small Bills, Big Ideas
Dial M for Mortgage / My Cousin the Fence / Stick 'Em Up, Sorry / Honour Among Nephews / Handcuffed to Harold
# dust westerns: Western; Drama, Adventure; 1928-1976
No Shade in Perdition / Long Shadows at Mesa Prieta / Nine Miles of Barbed Wire / The Stranger Paid in Silver
The Preacher Drew First / The Marshal of Dry Fork / Johnny Nevada Comes Home / Old Scores in El Halcón
Last Water Before Laredo / A Rope for Every Brother / Hang the Moon in Abilene / Stagecoach to Sorrow Gap
Seven Graves for Silas Boone / The Dust Remembers Cole Harlan / The Telegraph Stops at Redemption
Ride the Salt Line / The Man from Bitter Springs / Whiskey, Lead and Scripture / The Undertaker Rides at Noon
Widow's Creek / Rattlesnake Sunday
Sundown at Two Crows / Two Horses, One Grave / Blood on the Almanac / Cold Iron Pass / Nobody Buried Amos Pike
# odd westerns: Western; Drama, Adventure; 1962-2025
The Dentist of Dodge County / A Horse Called Wednesday / Wanted, Preferably Alive / The Sheriff Is a Metaphor
The Cowboy Who Was Afraid of Cows / The Second-Slowest Gun in Wyoming / Piano Delivery to Deadwood Flats
Snow on the Saloon / Tumbleweed Therapy / The Accordion Kid / Six-Gun Seamstress / Calamity Jolene
High Tea at High Noon / The Oregon Short Cut / Gold Rush, Slow Burn / Prairie Insomnia / Spurs and Sensibility
Madame Wu's Frontier Laundry / The Good, the Bad and the Notary / Ostrich Ranch / The Barber of Seville, Texas
Draw, Said the Painter / The Camel Corps of Yuma / A Coyote Reads the Will / The Stagecoach Book Club
Posse of Two
# creaking houses: Horror; Mystery, Thriller; 1932-2025
The House That Kept Breathing / Mrs. Ashgrove Is Still Upstairs / Someone Has Been Winding the Clock
Do Not Feed the Staircase / Seven Bells for Miss Havering / Knock Once for Father / The Wallpaper Is Listening
The Governess Has No Reflection / The Thirteenth Candle at Marlow Hall / The Last Room on the Left-Hand Side
The Portrait Moved Again / The Séance Was a Success / Tenants of the Crawlspace / The Inheritance Has Teeth
A Lullaby for Lot 9 / The Hourglass Widow / Salt on Every Sill / The Veil of Thornwick / La Maison sans Ombre
The Attic Hums / Bone China / Cold Spots
What Grandmother Planted / A Guest in Every Mirror / The Piano Plays at Four / Requiem for a Dollhouse
# drive-in monsters: Horror; Mystery, Thriller; 1951-2025
It Came from the Recycling / The Taxidermist's Nephew / Basement Level Minus Four / Bigfoot's Bigger Brother
Night of the Overdue Librarian / Last Summer at Camp Hollow Pines / Don't Answer the Ice Cream Van
Sorority of the Swamp / Bowling Alley of Blood / I Married a Scarecrow / The Crawling Casserole
The Mall After Closing / Teeth Beneath the Pier / Lake Without a Lifeguard / The Werewolf of Wichita
Corn Maze Massacre / The Prom Was a Trap / Mutant Bingo Night / Hatchet Wedding / Carnival of Elbows
Revenge of the Garden Gnomes / Chainsaw Carpool / Something Ate the Scoutmaster / The Vending Machine Wants In
Ghoul Crossing / Wasps, Mostly
# old gods: Horror; Mystery, Thriller; 1964-2025
The Harvest Asks for Names / What the Shepherd Owed / All the Village Is Smiling / Nobody Swims at Kelpie Cove
A Wreath for Barrow Field / Bonfire at Saint Aldith's / Ashes for the Apple Tree / Under the Yew, Before Dawn
The Hedge King / The Bell That Rings in the Lake / Milk for the Standing Stones / The Well Is Not for Wishing
The Rook Parliament / Salt Marsh Hymnal / The Turnip Lanterns / A Field Left Fallow / The Crows Keep Count
Straw Bride / Antler Sunday / Thirteen Sheaves / Crooked Psalm
The Beekeeper's Bargain / Wolf Moon over Ødegård / The Crone of Långskär / The Midsummer Census / Black Butter
# screwball: Romance; Comedy, Drama; 1929-1968
The Bride Wore the Wrong Groom / A Perfectly Ridiculous Honeymoon / Something Borrowed, Someone Blue
Heiress on the Loose / The Lady Vetoes / Hats Off to Henrietta / A Yacht Named Regret / Lunch with My Ex-Wives
Champagne Before Breakfast / Two Left Shoes and a Tiara / Divorce Me on Thursday / The Man Who Came to Brunch
She Married the Butler Twice / His Girl Saturday / The Importance of Being Late / Hold the Wedding, I'm Coming
The Leopard Is in the Laundry / The Duchess of Delancey Street / Room Service for Two Strangers
Engaged to Everyone / Kiss Me, I'm Late / Elope, Elope! / Never Trust a Tenor
Mr. Pettibone Proposes / Love Is a Clerical Error / The Reluctant Bachelorette / Cupid Takes the Subway
# letters and trains: Romance; Comedy, Drama; 1936-2025
The Last Train Waits for Irene / Platform Four, Before the Rain / Meet Me Where the River Forgets
Letters Never Sent from Trieste / The Lighthouse Keeper's Second Wife / The Long Engagement of Clara Voss
What We Said in Ostend / The Translator's Heart / The Year of Lost Gloves / A Room Above the Bakery
An Umbrella for Two Winters / The Violin on Rue Caulaincourt / Autumn Comes to Apartment 6 / If the Snow Holds
A Summer Without Postcards / The Weight of Your Coat / Slow Boat to Marguerite / Dancing Badly with Tomás
Once, in Valparaíso / Between Two Ferries / Half of Every Orange / The Gardenia Season / Goodnight, Ljubljana
The Cellist of Gdańsk / Every April Until You / Un Dimanche à Rebours / The Blue Hour in Porto
# paperwork: Comedy; Drama; 1991-2025
The Department of Spoons / The Inspector of Cheese / Mr. Wozniak Is in a Meeting / The Photocopier's Lament
Form 27-B / The Minister of Lost Umbrellas / Casual Friday the Thirteenth / The Revolution Will Be Minuted
The Committee to Abolish Committees / Employee of the Month, Posthumously / A Parking Permit for the Hearse
Minutes of the Last Meeting / The Intern Emperor / Your Call Is Important to Us / Further to My Previous Email
The Sub-Deputy / Kafka's Plumber
An Audit in Paradise / Nobody Reads the Annex / Ambassador to Nowhere / The Ministry of Weather
The Printer on Three / The Stapler War / The Ombudsman Cometh / Redundancy Party / Kindly Take a Number
# village squabbles: Comedy; Drama; 1949-2025
The Great Marrow Scandal / Last Orders at Ballykeel / Trouble at the Duck Pond / A Statue of the Wrong Man
A Goat for Mayor / Cheese Rolling for Amateurs / The Bell Ringer Has Hiccups / The Postman Knows Everything
The Vicar's Motorbike / Il Sindaco e la Capra / Jam and Perjury
The Choir Needs a Tenor / The Cow on the Church Roof / A Bus Every Other Thursday / Our Man in Nether Wobbling
The Twinning Committee / Small Town, Big Trombone / The Widow's Cricket Team / The Baker Is on Strike
Mrs. Pomfrey's War on Pigeons / Dumplings for the Whole Street / Turnip Queen, 13th Year Running
Three Brothers, One Tractor / Uncle Bertil Buys a Volcano / The Rhubarb Triangle / The Miracle of Santa Úrsula
# small wonders: Documentary; -; 1961-2025
The Patience of Moss / A Year in the Compost / How Bridges Sleep / The Glass Eye Makers / Buttons of Bohemia
The Last Typewriter Repairman of Naples / Notes from a Lighthouse Kitchen / The Clock Tower Has Two Keepers
Starlings over the Station / Sourdough: A Family History / The River Keeps a Diary / The Hundred-Year Darkroom
The Bell Founders / Snail Weather / Counting Puffins / The Quiet Ferry / Peat, a Portrait / Lichen Time
Ten Thousand Umbrellas / Hands That Tune Pianos / A Slow History of Salt / One Tree, Four Winters
The Weavers of Jämtland / Fog Harvesters of Atacama / The Man Who Files Thunder / The Library Under the Ice
# obsessives: Documentary; -; 1986-2025
Yodel to the Death / The Crossword King of Duluth / Tall Ships in Small Bottles / The Man with Nine Submarines
The Great Pigeon Swindle / Marathon of the Mascots / Ventriloquists Anonymous / Lawnmower Grand Prix
Seventeen Thousand Garden Gnomes / The Karaoke Champions of Oulu / My Father Collected Traffic Cones
Nerves of Steel Wool / The Tango King of Tashkent / The Hot Pepper Brotherhood / The Town That Bought a Tank
Sudoku Behind Bars / The Sandcastle Wars / Bagpipes at Dawn / The Curling Prophet / Full Metal Bassoon
Pinball Widow / Beard Season
Chess, Lies and Marmalade / Lost in the Model Railway / The Fastest Knitter Alive / The Fake Sheikh of Stamps
# barnyard: Animation, Children; Comedy, Adventure; 1940-2025
Percival the Nervous Walrus / Raccoons of the Royal Opera / Zuzu the Very Small Giraffe / Frogs in Formal Wear
Hedgehog Airlines / Two Otters and a Tuba / Mole Patrol / Badger Bakes a Cake / Sloths in a Hurry
The Snail Who Was Early / Llama Drama Summer Camp / Owl Be Home by Morning / The Caterpillar Express
Captain Whiskers and the Missing Moon / The Pigeon Who Delivered Himself / Gus, the Goose Who Swore Off Flying
Bertie Beetle's Big Umbrella / A Penguin in the Post Office / Tortoise Taxi / Mabel, the Mail-Order Mammoth
The Great Biscuit Rescue / The Secret Life of Socks / Kittens of the Caribbean / Pip and the Puddle Pirates
Barnaby Bat Is Afraid of the Dark / The Yak Who Came for Christmas / The Cow Who Jumped over the Mall
# paper moons: Animation; Children, Fantasy, Adventure; 1955-2025
The Lantern Whale / The Tailor of Falling Leaves / The Inn Where Winds Check In / The Boy Who Borrowed the Sea
A Kettle Full of Clouds / The Moth Lamp Festival / The Last Cloud Shepherd / The Snow Goose Orchestra
The Girl Who Mended Shadows / Yuki and the River of Kites / Paper Boats to Grandfather / The Little Red Tram
Fox Postage / Umbrella Forest
Tsukiko's Night Market / The Sparrow's Umbrella / The Island That Walked / The Weather Seamstress
A Map Drawn in Snow / Pomegranate Moon / Grandmother Thunder / Le Petit Nuage Têtu / Hana Rides the Rain
Seven Wishes of a Lamplighter / When the Stars Came Down to Bathe / Beneath the Whispering Radish
# backstage: Musical; Comedy, Romance; 1929-1974
Curtain Up, Shoes Off / Sing It to the Landlord / A Star Is Late / Pirouette for Peggy / The Tenor Caught Cold
Tap Dancing on Thin Ice / The Second Banana Sings / Moonlight over Milwaukee / One Bar Short of a Waltz
Broadway Can Wait / Melody Maguire / Encore, Eleanor! / Rhythm on the Roof / Hello, Harmonica! / Matinee Idle
Hats, Canes and Heartbreak / Follies of Figueroa Street / The Girl from Row Z / Seven Tubas for Seven Brothers
The Understudy Takes Manhattan / Please Don't Shoot the Choreographer / Everything's Coming Up Rosalind
Swing Low, Sweet Harriet / Jazz Hands Across the Sea / The Piano Mover's Serenade / Low Notes in High Society
# loud guitars: Musical; Comedy, Romance; 1977-2025
The Drummer Lives in a Van / Three Chords and a Divorce / The Last Gig in Gothenburg / The Tambourine Incident
Goodbye, Bass Player / Karaoke for the Damned / Disco Requiem / Cumbia Without Brakes / Fuzz Pedal Confessions
Live at the Laundromat / The Ballad of Loud Larry / My Grandmother Was a Punk / A Synthesizer Named Judith
Amplifier Blues / Rockabilly Vicar / One Hit, No Wonder / Soundcheck at Dusk / La Última Guitarra
B-Side Bandits / Motorway Fado / MC Librarian / Polka Rebellion
Bossa Nova Breakdown / Too Old for Glitter / Mixtape for Marisol / The Roadie's Waltz / The Saxophone Thief
# mud and mercy: War; Drama, Comedy; 1927-2025
The Bridge at Saint-Égrève / Dawn Belongs to the Sappers / The Radio Operator's Lent / Snow on the Narvik Guns
Hill 214 / The Bombardier's Watch / Beyond the Second Wire / The Tank Called Margot / Until the Barrage Lifts
Eleven Hours to Tobruk Road / The Last Bugle at Kasr Dahab / The Colonel Regrets to Inform / Dust of Bir Zahra
The Silent Periscope / Convoy in White / Salt in the Sandbags / The Armistice Runner / What the Ferry Carried
No Flag over Vrana / Mud and Mercy / Depth Charge Sunday / One Map, Two Armies
A Cigarette Before Arras / Nineteen Men from Nantes / Brothers of the Pontoon / Above Us Only Zeppelins
# absurd wars: War; Drama, Comedy; 1948-2025
The War Ended Yesterday, Sir / The Medal Was for Someone Else / The Decoy Army Goes to Lunch
Private Plum Declines / The Left-Footed Brigade / A Ceasefire for Cricket / The Battle of Breakfast
The General's Gramophone / The Quartermaster's Goose / The Lost Patrol's Picnic / Camouflage for Beginners
Two Armies, One Piano / Spies at the Spa / The Pacifist Cavalry / Nobody Told the Navy / A Truce Named Dolores
Enemy of the Cook / Sixty Kazoos to Sevastopol / The Invasion of Small Island / Carrier Pigeon Court Martial
Hold That Trench / Deserters' Choir / Colonel Marzipan / Surrender, Please / The Bicycle Regiment
Mess Hall Mutiny
# swords and maps: Fantasy; Adventure, Romance; 1958-2025
The Crown of Hollow Hill / Blade of the Ninth Winter / Under the Manticore Banner / The Witch-King's Laundress
The Dragon's Accountant / The Oathbreaker's Map / The Last Griffin Rider / Shieldmaiden's Bargain
Sorcerers of the Salt Road / The Thief Who Stole the North / The Wandering Keep / Quest for the Adequate Sword
A Throne of Antlers / Ravens of Eldermoor / Where Giants Kneel / The Goblin Embassy / The Cup-Bearer of Kôr
Rune and Ruin / The Basilisk Cup / The Iron Orchard / Ember and Oath / Thornqueen Rising
The Alchemist's Bodyguard / Prince of Cinders and Rye / Eight Arrows for the Moon / The Tower Without Stairs
# everyday magic: Fantasy; Adventure, Romance; 1946-2025
The Wish Repair Shop / My Landlord Is a Minor God / Seven Leagues in Flat Shoes / A Spell for Broken Bicycles
Mermaid in the Municipal Pool / Lost Property Office of Dreams / The Cat Who Granted Extensions
The Genie Takes a Sabbatical / The Fortune Teller's Day Off / The Statue Who Loved Mondays / Gargoyle Season
The Invisible Bakery / Tooth Fairy, Retired / The Unicorn Permit / Wings, Slightly Used
An Angel on the Night Bus / Small Miracles, Reasonable Rates / The Girl Who Returned Library Books to Atlantis
The Witch of Apartment 4C / Midnight Tram to Elsewhere / Potion No. 9 and a Half / Moonlighting at the Moon
Grandpa's Other Shadow / Fairy Godmother-in-Law / Puddles to Other Places / The Lamp in Aisle Five
# tweed: Mystery; Crime, Comedy; 1931-2025
The Body in the Breakfast Room / The Case of the Left-Handed Harpist / Everyone Lied to Inspector Banerjee
Murder Wears Tweed / Inspector Quill Investigates / Foul Play at the Flower Show / The Gardener Did Not Do It
The Colonel's Third Will / Nine Suspects for Dinner / Murder on the Branch Line / The Riddle of Gull Island
The Butler Was Abroad / The Hound Was Innocent / Who Salted the Sherry? / The Parrot's Testimony
Lady Ottoline Vanishes at Tea / Death Takes the Scenic Route / Miss Dimmock Draws Conclusions
The Clue in the Custard / A Corpse at the Croquet / The Poisoned Crossword / The Locked Conservatory
Too Many Vicars / Death by Semicolon / A Knife in the Trifle / The Blackwood Codicil
# cold cases: Mystery; Crime, Drama; 1970-2025
The Girl on Ferry Nine / What the Divers Found / Missing Since Thursday / The Orchard Confession
Thin Ice County / The Last Page Is Torn / Sister of the Accused / All Roads to Kittilä / The Snowplough Driver
The Missing Winter / Evidence of Snow / The Quarry Road / An Echo in Halden / Grey Heron Inn
Room at the Bluebird Motel / Nobody Asked About Agnes / Tapes from the Lake House / Where Is Daniel Okafor?
The Reservoir Gives It Back / The Postmistress of Grimsay / Under the Floodline / A Quiet Year in Sorrel Falls
Thirteen Steps to the Boathouse / The Stranger in the Yearbook / Statement of the Second Witness / Före Isen
# kitchen sinks: Drama; Romance; 1955-2025
Sunday Dinner for Nobody / When the Mill Whistle Stops / Council Flat, Third Floor / A Winter Without Overtime
The Plumber's Daughter Plays Chopin / The Last Shift at Harrow Mill / The Night School on Canal Street
My Mother's Second Mortgage / The Divorce Table / The Year Dad Stopped Singing / Widows of the Number Nine Pit
A Coat for Malik / Two Kettles / The Foster Summer / A Small Strike / Somebody's Chair / Soup for Eleven
Everything We Sold / Blue-Collar Ballet / Custody of the Piano / Bread and Overdrafts / The Bus to Grangetown
Brothers and Other Debts / The Weight of Groceries / Other People's Birthdays / Visiting Hours Are Over
# café light: Drama; Romance; 1957-2025
The Philosopher's Bicycle / Smoke, and Then More Smoke / El Jardín de los Relojes / Nothing Happens in Ghent
Une Tasse de Silence / A Lemon in Winter / Die Stille der Lampe / Waiting for Françoise / The Critic's Funeral
Elle Oublie Jeudi / Three Sisters and an Ashtray / Portrait of a Lady on a Tram / The Suitcase of Señor Ibáñez
Conversation with an Empty Chair / The Sadness of Tall Buildings / Petit Déjeuner, Grande Tristesse
The Beige Period / Ennui by the Sea / Noite de Azulejos / Szabó's Umbrella / Vuosi Ilman Kesää
La Sedia Vuota / A Theory of Rain
A Man Looks at a Bridge / The Melancholy Geometer / He Walks, She Remembers / The Director Is Asleep
# ice and oceans: Adventure; Action, Drama; 1924-2025
North by Dogsled / The Storm Petrel Sails Late / The Cook Who Rounded the Horn / Captain Isolde Takes the Helm
The Wreck of the Calliope / Forty Days to Spitsbergen / Kayak to the End of the Map / The Mutineer's Garden
The Whaler's Compass / Men of the Ice Shelf / The Drowned Meridian / The Glacier Keeps Its Own / Sea of Widows
The Last Cairn / Anchor the Moon / Two Sledges South / Sherpa Sunrise / The Long Portage / Adrift off Tristan
Beyond Baffin Light / A Sextant for Elena / The White Traverse / The Albatross Wager / Lifeboat Number Two
K3, or Nearby / Frozen Rigging
# lost temples: Adventure; Action, Drama; 1921-1989
The Emerald Toucan / The Jaguar Idol / Biplanes over Bhutan / Smugglers' Monsoon / Rope Bridge Out
Professor Quick and the Sunken Library / Curse of the Clockwork Pharaoh / The Seventh Map of Doctor Amaral
Zeppelin to Zanzibar / Whip, Hat and Permit / Nitro Road to Manaus / The Sapphire Run / The Crocodile's Ledger
Daredevils of the Orinoco / Riddle of the Obsidian Door / The Barefoot Baroness / Pearl Divers of Pelican Reef
Treasure of the Tin Mountains / The Golden Gecko / A Compass for Colonel Dupree / Seven Traps in Seven Minutes
Tomb of the Unpaid Intern / Escape from Cobra Gorge / Lost City, Found Wallet / Diamonds Are for Dentists
Amazon Airmail
# paranoia: Thriller; Drama, Action; 1950-2025
The Man in the Next Consulate / Sleeper Agent, Light Sleeper / The Archivist Must Disappear / A Cold Handshake
Every Phone Is Listening / A Briefcase in Bucharest / The Interpreter's Silence / Safe House, Unsafe Street
The Helsinki Dossier / Code Name Rhubarb / Dead Drop in Antwerp / Clearance Level Zero / The Eleventh Passport
Operation Tortoiseshell / Cipher for a Quiet Man / The Minister's Double / The Turncoat's Tailor
The Zurich Margin / Two-Way Glass / Checkpoint Dora / Trust No Violinist
Nobody Named Novak / The Defector's Dog / The Leningrad Waltz / Burn After Briefing / The Embassy Garden
# locked doors: Thriller; Drama, Action; 1952-2025
Stuck Between Nine and Ten / Please Hold the Door / A Stranger Fixed the Boiler / The Peephole Across the Hall
The Jury Forgot / The Sound Booth / The Long Red Light / Twelve Angry Mimes / Autopilot Off
Ninety Minutes of Air / The Night Nurse Counts / Night Shift at the Dam / Eleven Keys, Ten Doors
The Babysitter Hears Everything / Seat 14C / Hostage Negotiator's Day Off / The Revolving Door Did Not Stop
Cable Car, Last Descent / Panic on Platform Zero / The Last Tenant of Tower B / Wrong Number, Right House
Four Walls and a Wire / Blackout on Eleven / The Lift Inspector / Someone in This Car / Ten Seconds of Tape
# patient fists: Action; Adventure, Thriller; 1966-2025
Fist of the Patient Heron / Revenge Takes the Stairs / Two Swords, One Noodle / The Monk with Bad Knees
Iron Teahouse / The Drunken Abacus / Lotus and Shrapnel / Elbow of Justice
Master Lo Eats First / The Blind Carpenter / The Mantis Contract / Enter the Accountant / Sword in the Subway
Bamboo Thunder / The One-Armed Florist / Kick First, Bow Later / Hundred-Knuckle Harry / Night Market Brawlers
Dragon at the Dry Cleaner's / Crouching Tenant, Hidden Landlord / Silk Hammer / The Last Student of Madam Feng
Seven Steps to Tiger Bridge / Dojo of Broken Chairs / Temple of the Sleeping Fist / Steel Lantern, Paper Sword
# engines and fire: Action; Adventure, Thriller; 1969-2025
One Cop, No Brakes / Six Lanes of Fury / Overdrive County / The Getaway Ferry / Tow Truck Vengeance
Brake Fluid / Maximum Torque / Volcano Tax / Hurricane Linda / Runway on Fire / Mayday in Minsk / Turbo Widow
Nitro Nuns
Explosions in Alphabetical Order / Gridlock Zero / Walk Slowly from the Fireball / This Helicopter Has No Roof
The Bodyguards' Union / Ambulance 51 / Bulletproof Babysitter / Redline to Reykjavík / Avalanche at Gate Five
The Demolition Derby Kid / Last Truck to Anchorage / The Stuntman's Insurance / Nobody Defuses Like Denise
"""
