"""The written list of units: what each measures in, and its factor; and the words that are no unit.

Definitions are exact (SI brochure, 9th edition; the international yard and pound of 1959; US customary
measures). A list of our own, because a registry such as pint's knows neither money nor other languages, and
takes `c`, `k`, `h` and `am` for the speed of light, two constants and attometres: too much for an answer.
"""

from __future__ import annotations

# name = factor and powers of what it is made of; `*`: takes SI prefixes before its symbol
SYMBOLS = """
m* = m | g* = g | s* = s | A* = A | K* = K | mol* = mol | cd = cd | N* = 1000 g m s^-2
Pa* = 1000 g m^-1 s^-2 | J* = 1000 g m^2 s^-2 | W* = 1000 g m^2 s^-3 | Hz* = s^-1
V* = 1000 g m^2 s^-3 A^-1 | Ω* = 1000 g m^2 s^-3 A^-2 | F* = 1/1000 g^-1 m^-2 s^4 A^2
T* = 1000 g s^-2 A^-1 | Wb* = 1000 g m^2 s^-2 A^-1 | H* = 1000 g m^2 s^-2 A^-2 | C* = A s
L* = 1/1000 m^3 | l* = 1/1000 m^3 | eV* = 1.602176634e-16 g m^2 s^-2 | cal* = 4184 g m^2 s^-2
bar* = 100000000 g m^-1 s^-2 | lm* = lm | lx* = lx | Bq* = s^-1 | Gy* = m^2 s^-2 | Sv* = m^2 s^-2
rad = 1 | sr = 1 | Wh* = 3600000 g m^2 s^-2 | atm = 101325000 g m^-1 s^-2
mmHg = 133322.387415 g m^-1 s^-2 | psi = 6894757.293168 g m^-1 s^-2 | min = 60 s | h = 3600 s
day = 86400 s | week = 604800 s | month = month | year = 12 month | decade = 120 month
century = 1200 month | in = 0.0254 m | ft = 0.3048 m | yd = 0.9144 m | mi = 1609.344 m | nmi = 1852 m
ly = 9460730472580800 m | au = 149597870700 m | acre = 4046.8564224 m^2 | ha = 10000 m^2 | t = 1000000 g
lb = 453.59237 g | oz = 28.349523125 g | stone = 6350.29318 g | shortton = 907184.74 g
longton = 1016046.9088 g | gal = 0.003785411784 m^3 | qt = 0.000946352946 m^3 | pt = 0.000473176473 m^3
cup = 0.0002365882365 m^3 | floz = 0.0000295735295625 m^3 | tbsp = 0.00001478676478125 m^3
tsp = 0.00000492892159375 m^3 | cc = 0.000001 m^3 | mph = 0.44704 m s^-1 | kmh = 5/18 m s^-1
knot = 463/900 m s^-1 | rev = rev | rpm = 1/60 rev s^-1 | dB = dB | B = byte | KB = kilobyte
MB = megabyte | GB = gigabyte | TB = terabyte | bit = bit | deg = 1/180 pi | arcmin = 1/10800 pi
arcsec = 1/648000 pi | degC = degC | degF = degF | USD = USD | USc = 1/100 USD | EUR = EUR
EUc = 1/100 EUR | GBP = GBP | p = 1/100 GBP | CNY = CNY | jiao = 1/10 CNY | fen = 1/100 CNY | JPY = JPY
INR = INR | KRW = KRW | RUB = RUB | CAD = CAD | AUD = AUD | CHF = CHF | MXN = MXN | BRL = BRL
jin = 500 g | mu_area = 2000/3 m^2 | ordinal = ordinal
"""
PREFIXES = {
    "p": -12, "n": -9, "µ": -6, "u": -6, "m": -3, "c": -2, "d": -1, "h": 2, "k": 3, "M": 6, "G": 9, "T": 12,
}  # fmt: skip
PREFIX_NAMES = {
    "pico": "p", "nano": "n", "micro": "µ", "milli": "m", "centi": "c", "deci": "d", "hecto": "h",
    "kilo": "k", "mega": "M", "giga": "G", "tera": "T",
}  # fmt: skip
# symbol: names in the singular; several symbols where a name may mean any of them
NAMES = """
m: meter metre мэтр метр метра метров м mètre metro метры
g: gram gramme gramm gramo grammo грамм грамма граммов г
s: second sec sekunde seconde segundo secondo секунд секунда секунды с
A: ampere amp | K: kelvin | mol: mole | cd: candela | N: newton | Pa: pascal | J: joule | W: watt
Hz: hertz | V: volt | Ω: ohm | F: farad | T: tesla | Wb: weber | H: henry | C: coulomb
L: liter litre litro л литр литра литров | eV: electronvolt | cal: calorie | bar:
rad: radian | sr: steradian
"""
WORDS = """
min: minute minuto минут минута минуты мин 分钟 分鐘 분
h: hour hr hrs stunde stunden heure hora часов час часа ч 小时 小時 钟头 時間
h: 시간 | day: day d tag tage jour día dia дней день дня 天 日 일
week: week wk 周 星期 woche wochen semaine semana
month: month mo 月 个月 個月 monat monate mois mes meses
year: year yr an año jahr jahre лет год года 年 岁 歲 歳 years-old | decade: decade
century: century centuries | s: 秒 秒钟 초 | m: 米 公尺 メートル 미터 | dm: 分米
cm: 厘米 公分 センチ 센티미터 см сантиметр сантиметров | mm: 毫米 мм
km: 千米 公里 キロメートル 킬로미터 км | km: километр километров
g: 克 グラム | kg: kilo kgs 千克 公斤 кг
kg: キログラム 킬로그램 килограмм килограммов | mg: 毫克
t: tonne metricton 吨 тонн тонна | jin: 斤 | L: 升 公升 | mL: 毫升 cc | cc: ccm
ha: hectare 公顷 | mu_area: 亩 | in: inch inche inches | ft: foot feet | yd: yard | mi: mile
nmi: nauticalmile | ly: lightyear | au: astronomicalunit | acre: acre | lb: lbs | oz floz: oz ounce
floz: fluidounce | stone: stone | t shortton longton: ton tons | lb GBP: pound pounds | gal: gallon
qt: quart | pt: pint | cup: cup | tbsp: tablespoon | tsp: teaspoon | kmh: kph kmph km/hr | mph: mph
knot: knot kn | rpm: rpm | rev: revolution | dB: decibel | bit: bit | B: byte | KB: kilobyte kB
MB: megabyte | GB: gigabyte | TB: terabyte | atm: atmosphere | psi: psi | deg degC degF: ° degree º
deg: deg 度 도 градусов градуса | arcmin: arcminute | arcsec: arcsecond
degC: °C ℃ celsius degreecelsius 摄氏度 | degF: °F ℉ fahrenheit degreefahrenheit
K: degreekelvin °K | C degC: C | F degF: F
USD: $ us$ usd dollar buck 美元 달러 dólar dólares dolares долларов
USc EUc: cent ¢ céntimo | USc p: penny pence pennies | EUR: € eur euro 欧元 евро
GBP: £ gbp poundsterling 英镑 | p: pence | CNY JPY: ¥ | CNY: 元 块 块钱 圆 人民币 rmb cny yuan
jiao: 角 | fen min: 分 | JPY: 円 日元 yen jpy | INR: ₹ rs inr rupee | KRW: ₩ krw 원 won
RUB: ₽ rub руб рублей рубля рубль | CAD: cad | AUD: aud | CHF: chf | MXN: mxn
BRL: brl r$ | ordinal: st nd rd th | m^2: 平方米 平方公尺 м² sqm
cm^2: 平方厘米 平方公分 | mm^2: 平方毫米 | dm^2: 平方分米
km^2: 平方千米 平方公里 | m^3: 立方米 | cm^3: 立方厘米 | dm^3: 立方分米
mm^3: 立方毫米 | ft^2: sqft | mi^2: sqmi | in^2: sqin
"""
# what a number is multiplied by, or a power of it
NUMBER_WORDS = {
    "hundred": "100", "thousand": "1000", "million": "1000000", "billion": "1000000000",
    "trillion": "10^{12}",
    "k": "1000", "dozen": "12", "score": "20", "gross": "144",
    "half": r"\frac{1}{2}", "quarter": r"\frac{1}{4}",
    "third": r"\frac{1}{3}", "fourth": r"\frac{1}{4}", "fifth": r"\frac{1}{5}", "sixth": r"\frac{1}{6}",
    "seventh": r"\frac{1}{7}", "eighth": r"\frac{1}{8}", "ninth": r"\frac{1}{9}", "tenth": r"\frac{1}{10}",
    "twelfth": r"\frac{1}{12}", "hundredth": r"\frac{1}{100}", "thousandth": r"\frac{1}{1000}",
    "millionth": r"\frac{1}{1000000}", "pi": r"\pi", "万": "10000", "萬": "10000", "亿": "100000000",
    "億": "100000000", "百万": "1000000", "千万": "10000000", "千": "1000", "百": "100",
    "만": "10000",
    "halve": r"\frac{1}{2}", "squared": "^2", "cubed": "^3", "factorial": "!",
}  # fmt: skip
# no thing is counted by these: numbers, operations, choices, denials, verbs, comparisons
_BARRED = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred
thousand million billion trillion dozen score gross half halve third fourth quarter fifth sixth
seventh eighth ninth tenth ones twos threes fours fives sixes sevens eights nines tens elevens
twelves twenties pair pairs couple couples double triple twice thrice once once-over fold times time
plus minus added subtracted divided multiplied over under above below by into squared cubed
square-root root roots power powers exponent exponents factorial factorials percent percents log
logs cos sin sins tan tans pi pis mod modulo inverse reciprocal reciprocals negative negatives
negated minuses pluses opposite opposites sums differences products quotients or and nor not but to
if unless else elses maybe possibly perhaps probably either neither never no none nope wrong
incorrect false right true instead rather alternatively otherwise versus vs is isnt was wasnt are
arent has does doesnt fails misses errs lies lacks contradicts equals exceeds seems means makes
gives becomes leaves says this that thus his its hers ours yours theirs these those as always
sometimes besides whereas towards upwards downwards backwards forwards afterwards approximately
about around almost nearly roughly circa between at than then from less more fewer short except
without within up off of in per which who what where when while because since so also yet only guess
guesses zillions nths answers answer mistakes errors impossible undefined infinitely radians i
"""
BARRED = frozenset(_BARRED.split())
_IRREGULAR = """
people children men women mice geese teeth fish sheep deer cattle oxen police students dice vertices
matrices indices data digits persons candy fruit money money's homework chess mathematicians
"""
IRREGULAR = frozenset(_IRREGULAR.split())
_SINGULAR = """
apple ball bag bird boat book bottle box boy car card cat chair chicken child coin cookie cow cube
cupful day dog door egg element factor fish flower friend game girl goal group horse house item
integer intersection line man marble member orange page pen pencil person piece player point problem
prime question root-free rabbit shirt solution song square step student table team ticket toy tree
triangle trip vertex way woman word yard year
"""
SINGULAR = frozenset(_SINGULAR.split())
# what may stand behind a thing that is counted
TAILS = (
    "in total", "in all", "altogether", "total", "left", "left over", "remaining", "each", "old", "tall",
    "long",
    "wide", "high", "deep", "thick", "only", "away", "apart", "of age", "each time", "exactly",
)  # fmt: skip
# Chinese and Japanese counters; what follows them is the thing
COUNTERS = "个個只隻人本张張条條件辆輛颗顆朵名支枝头頭匹棵块"
COUNTERS += "塊页頁次种種"
COUNTERS += "位台间間束袋瓶盒箱题題道组組根把双對对杯碗套份座"
COUNTERS += "架艘家所层層段句字"

NO_THING = "或和不错錯非无無没沒又与與多少约約上下左右加减減"
NO_THING += "乘除倍半点點负負是否"
