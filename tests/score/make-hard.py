#!/usr/bin/env python3
"""Makes sets/hard.jsonl: hand-made receipts of the kinds that SROIE does not have. Names and numbers are invented.

usage: make-hard.py

A case is a name, what is to be read (null: nothing), and its text, a row a line; `|` stands between what OCR gives as lines of their
own. Layouts put the same rows elsewhere. `or_null`: fields that may as well be left out, but must not be another.
"""
import json, math, os

def rows(text, skew=0.0, width=0.9, left=0.05, confidence=98.0, top=0.03, step=0.028):
    lines = []
    for number, row in enumerate(filter(str.strip, text.strip("\n").split("\n"))):
        cells = [cell.strip() for cell in row.split("|")]
        for column, cell in enumerate(cells):
            if not cell:
                continue
            wide = min(0.011 * len(cell), width)
            if len(cells) == 1:
                x = left + (width - wide) / 2 if number < 4 else left
            elif column + 1 == len(cells):
                x = left + width - wide
            else:
                x = left + column * width / len(cells)
            y = top + step * number + skew * x
            lines.append([cell, confidence, round(x, 4), round(y, 4), round(wide, 4), 0.018])
    return lines

def columns(text):
    """All that stands left first, then all that stands right: the order in which OCR reads two columns."""
    lines = rows(text)
    return [l for l in lines if l[2] < 0.5] + [l for l in lines if l[2] >= 0.5]

def below(text):
    """Each amount in the row below its label."""
    return rows("\n".join(cell for row in text.strip("\n").split("\n") for cell in row.split("|")))

def upside_down(text):
    return [[t, c, round(1 - x - w, 4), round(1 - y - h, 4), w, h] for t, c, x, y, w, h in reversed(rows(text))]

def turned(text, quarters):
    """Photographed on its side or head down; the polygons tell which way the text runs (0 right, 1 down, 2 left, 3 up)."""
    def turn(line):
        t, c, x, y, w, h = line
        box = {1: (1 - y - h, x, h, w), 2: (1 - x - w, 1 - y - h, w, h), 3: (y, 1 - x - w, h, w)}[quarters]
        return [t, c, *(round(n, 4) for n in box), quarters]
    return [turn(line) for line in rows(text)]

def skewed(text):
    return rows(text, skew=0.045)

def tilted(text, degrees, shape=0.5):
    """Turned by so many degrees, with boxes parallel to the photo's edges; the photo is so wide for its height."""
    sin, cos = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    def turn(line):
        t, c, x, y, w, h = line
        corners = [((x + dx - 0.5) * shape, y + dy - 0.5) for dx in (0, w) for dy in (0, h)]
        xs, ys = zip(*(((cos * x - sin * y) / shape + 0.5, sin * x + cos * y + 0.5) for x, y in corners))
        return [t, c, round(min(xs), 4), round(min(ys), 4), round(max(xs) - min(xs), 4), round(max(ys) - min(ys), 4)]
    return [turn(line) for line in rows(text, width=0.7, left=0.15, top=0.15, step=0.025)]

def side_by_side(one, other):
    return rows(one, width=0.42) + rows(other, width=0.42, left=0.53)

GERMAN = """
Sonnenmarkt GmbH
Hauptstr. 12
50667 Köln
UID Nr. DE123456789
EUR
Milch 1,5%|1,19 B
Brot|2,49 B
Pfand|0,25 A
SUMME|EUR 3,93
Geg. BAR|EUR 10,00
Rückgeld BAR|EUR 6,07
Steuer %|Netto|Steuer|Brutto
A= 19,0%|0,21|0,04|0,25
B= 7,0%|3,44|0,24|3,68
Gesamtbetrag|3,65|0,28|3,93
12.03.2023|14:05|Bon-Nr. 4711
"""
DINER = """
MAPLE STREET DINER
120 Maple Street
Portland, OR 97201
Server: Anna
07/21/2023 12:41 PM
2 Burger|$19.90
1 Soda|$2.50
Subtotal|$22.40
Tax|$1.97
Total|$24.37
Suggested gratuity
15%|$3.66
18%|$4.39
20%|$4.87
"""
MALAY = """
KEDAI RUNCIT PAK ALI
NO 7, JALAN MAWAR 2
43000 KAJANG
TARIKH: 02/03/2019
GULA 1KG|RM 2.85
TEH|RM 5.65
JUMLAH|RM 8.50
TUNAI|RM 10.00
BAKI|RM 1.50
TERIMA KASIH
"""
TWO_RATES = """
HILLTOP PHARMACY SDN BHD (123456-X)
LOT 5, JALAN CENDANA
TAX INVOICE
DATE: 14/08/2017
VITAMIN C|12.00
PLASTER|5.50
SUB TOTAL|17.50
SERVICE CHARGE 10%|1.75
GST 6%|1.16
ROUNDING|-0.01
NETT TOTAL|20.40
CASH|50.00
CHANGE|29.60
"""
CASES = [
    # Languages
    ("german", ("Sonnenmarkt GmbH", "3.93", "12/03/2023", "EUR"), rows(GERMAN)),
    ("german-invoice", ("Schreinerei Vogel", "1234.50", "03/05/2022", "EUR"), rows("""
Schreinerei Vogel
Am Bach 3, 79098 Freiburg
Rechnung Nr. 2022-118
Datum: 03.05.2022
Tisch Eiche|1.037,39
Nettobetrag|1.037,39 €
zzgl. 19% MwSt.|197,11 €
Rechnungsbetrag|1.234,50 €
Zahlbar innerhalb von 14 Tagen
""")),
    ("french", ("BOULANGERIE DU PONT", "3.50", "05/11/2022", "EUR"), rows("""
BOULANGERIE DU PONT
14 rue de la Gare
69003 LYON
SIRET 123 456 789 00012
Le 05/11/2022 à 08:12
2 x Croissant|2,40 €
1 Baguette|1,10 €
TOTAL HT|3,32 €
TVA 5,5%|0,18 €
TOTAL TTC|3,50 €
Espèces|5,00 €
Rendu|1,50 €
Merci de votre visite
""")),
    ("french-thousands", ("Menuiserie Lambert SARL", "1234.50", "17/02/2023", "EUR"), rows("""
Menuiserie Lambert SARL
Zone artisanale, 35000 Rennes
Facture du 17/02/2023
Porte chêne|1 028,75
Total HT|1 028,75 €
TVA 20 %|205,75 €
Net à payer|1 234,50 €
""")),
    ("spanish", ("Cafetería El Sol S.L.", "4.00", "03/07/2023", "EUR"), rows("""
Cafetería El Sol S.L.
Calle Mayor 5
28013 Madrid
CIF B12345678
FACTURA SIMPLIFICADA
Fecha: 03/07/2023
Café con leche|1,80
Tostada|2,20
Base imponible|3,64
IVA 10%|0,36
TOTAL A PAGAR|4,00 €
Efectivo|5,00
Cambio|1,00
""")),
    ("italian", ("TRATTORIA DA GINO S.R.L.", "18.00", "12/05/2023", None), rows("""
TRATTORIA DA GINO S.R.L.
Via Roma 10
00184 Roma
P.IVA 01234567890
DOCUMENTO COMMERCIALE
di vendita o prestazione
Coperto|4,00
Pasta|11,50
Acqua|2,50
SUBTOTALE|18,00
TOTALE COMPLESSIVO|18,00
di cui IVA|1,64
Pagamento contante|20,00
Resto|2,00
12-05-2023 20:41
""")),
    ("portuguese", ("Padaria Estrela Lda", "2.20", None, "EUR"), rows("""
Padaria Estrela Lda
Rua do Ouro 20
1100-063 Lisboa
NIF 501234567
Fatura simplificada
Pão|0,90
Galão|1,30
Total|2,20 €
Dinheiro|5,00 €
Troco|2,80 €
IVA incluído|0,29
""")),
    ("dutch", ("Bakkerij De Molen B.V.", "4.45", "14/02/2023", "EUR"), rows("""
Bakkerij De Molen B.V.
Kerkstraat 8
1017 GP Amsterdam
Datum 14-02-2023
Brood|2,95
Koek|1,50
Subtotaal|4,45
Totaal|€ 4,45
Contant|€ 5,00
Wisselgeld|€ 0,55
BTW laag 9%|0,37
""")),
    ("malay", ("KEDAI RUNCIT PAK ALI", "8.50", "02/03/2019", "MYR"), rows(MALAY)),
    ("british", ("The Old Mill Inn", "18.40", "09/06/2023", "GBP"), rows("""
The Old Mill Inn
2 Bridge Lane, Bath
VAT No 123 4567 89
09/06/2023 19:22
2 Pie|£14.00
1 Ale|£4.40
Total|£18.40
Visa Debit|£18.40
VAT @ 20% incl.|£3.07
Service not included
""")),
    ("swiss", ("Bäckerei Huber AG", "1234.50", "01/02/2023", "CHF"), rows("""
Bäckerei Huber AG
Dorfplatz 1, 3011 Bern
CHE-123.456.789 MWST
01.02.2023
Catering|1'234.50
Total CHF|1'234.50
davon MWST 7.7%|88.26
""")),
    # Traps
    ("tip-suggestions", ("MAPLE STREET DINER", "24.37", "21/07/2023", "USD"), rows(DINER)),
    ("items-and-savings", ("GROCERY BARN", "45.18", None, "USD"), rows("""
GROCERY BARN
55 Lake Road, Madison, WI 53703
BANANAS|1.18
COFFEE|44.00
TOTAL ITEMS|12
TOTAL|$45.18
CASH|$50.00
CHANGE|$4.82
TOTAL SAVINGS|$60.20
""")),
    ("rounded-with-service", ("HILLTOP PHARMACY SDN BHD", "20.40", "14/08/2017", None), rows(TWO_RATES)),
    ("discount", ("Green Leaf Books", "15.00", None, "USD"), rows("""
Green Leaf Books
8 College Ave, Ithaca, NY 14850
Atlas|$20.00
Member discount|-$5.00
Total|$15.00
Mastercard ****4242|$15.00
""")),
    ("negative", ("RIVER OUTDOOR LTD", "-6.35", "11/04/2019", None), rows("""
RIVER OUTDOOR LTD
12 Quay Street
REFUND
11/04/2019 10:02
Socks|6.35-
TOTAL|6.35-
CASH|6.35-
""")),
    ("two-currencies", ("Airport Kiosk GmbH", "20.00", None, "EUR"), rows("""
Airport Kiosk GmbH
Terminal 2
Wasser|20,00
Summe EUR|20,00
In USD|21,80
Kurs 1,0900
Karte|20,00
""")),
    ("fuel", ("NORTHERN FUELS SDN BHD", "61.75", "20/01/2018", "MYR"), rows("""
NORTHERN FUELS SDN BHD
KM 12 LEBUHRAYA UTARA
20/01/2018 07:55
PUMP 3
LITRES|30.122
PRICE/L|2.050
FUEL TOTAL|RM 61.75
TOTAL|RM 61.75
CARD|RM 61.75
POINTS EARNED|61
""")),
    ("folio", ("HARBOUR VIEW HOTEL", "345.00", None, "USD"), rows("""
HARBOUR VIEW HOTEL
1 Pier Road, Boston, MA 02110
Room 2 nights|$300.00
Room tax|$45.00
Total charges|$345.00
Payment Visa|-$345.00
Balance|$0.00
""")),
    # Notations and OCR
    ("middle-dot", ("Corner Stores", "6.35", None, "GBP"), rows("""
Corner Stores
4 High Street, York
Milk|£1·35
Ham|£5·00
Total|£6·35
""")),
    ("letter-o", ("LUCKY NOODLE HOUSE", "10.50", None, None), rows("""
LUCKY NOODLE HOUSE
22, JALAN BESAR
NOODLE|8.00
TEA|2.50
T0TAL|1O.5O
CASH|20.00
CHANGE|9.50
""", confidence=88.0)),
    ("letter-l", ("LUCKY NOODLE HOUSE", "12.30", None, "MYR"), rows("""
LUCKY NOODLE HOUSE
22, JALAN BESAR
NOODLE|RM 9.80
TEA|RM 2.50
TOTAL|RM l2.30
""", confidence=88.0)),
    ("lost-point", ("LUCKY NOODLE HOUSE", "12.50", None, None), rows("""
LUCKY NOODLE HOUSE
22, JALAN BESAR
NOODLE|5.00
DUCK|7.50
TOTAL|1250
CASH|20.00
CHANGE|7.50
""", confidence=88.0)),
    ("code-behind", ("Petit Bazar", "12.50", None, None), rows("""
Petit Bazar
3 place du Marché
Tasse|12.50 A
TOTAL|12.50 A
ESPECES|12.50
""")),
    # Layouts
    ("skewed", ("MAPLE STREET DINER", "24.37", "21/07/2023", "USD"), skewed(DINER)),
    ("two-columns", ("KEDAI RUNCIT PAK ALI", "8.50", "02/03/2019", "MYR"), columns(MALAY)),
    ("label-above", ("KEDAI RUNCIT PAK ALI", "8.50", "02/03/2019", "MYR"), below(MALAY)),
    ("name-over-lines", ("GOLDEN HARVEST BAKERY SDN BHD", "6.00", None, None), rows("""
GOLDEN HARVEST
BAKERY SDN BHD
(998877-K)
11, JALAN PADI
BUN|6.00
TOTAL|6.00
""")),
    ("title-first", ("Blue Door Coffee", "7.80", "30/03/2023", None), rows("""
TAX INVOICE
WELCOME TO
Blue Door Coffee
Shop 4, 10 Beach Rd
ABN 12 345 678 901
30/03/2023 09:15
Flat white|4.30
Muffin|3.50
TOTAL|7.80
""")),
    ("scanned-by", ("Meadow Garden Centre Ltd", "31.20", None, "GBP"), rows("""
Scanned by CamScanner
Meadow Garden Centre Ltd
Field Lane, Derby
Compost|£31.20
TOTAL|£31.20
""")),
    ("card-slip", ("CAFE ROMA", "9.60", "12/09/2022", "EUR"), rows("""
WORLDPAY
MERCHANT COPY
CAFE ROMA
12 Market Square
12/09/2022 11:31
VISA CREDIT
**** **** **** 1234
AMOUNT|€ 9.60
TOTAL|€ 9.60
PIN VERIFIED
""")),
    ("bill-to", ("Acme Tools Ltd", "240.00", None, "GBP"), rows("""
INVOICE
Bill To:
Jane Smith
5 Orchard Way
From:
Acme Tools Ltd
Unit 3, Leeds
Drill|£200.00
VAT 20%|£40.00
Amount due|£240.00
""")),
    # What is not there
    ("letter", (None, None, None, None), rows("""
Dear Ms Brown,
thank you for your letter of last week.
We will come back to you shortly.
Kind regards
Peter Miller
""")),
    ("form", (None, None, None, None), rows("""
Application for membership
First name
Last name
Date of birth
Signature
""")),
    ("menu", ("CAFE LUNA", None, None, None), rows("""
CAFE LUNA
MENU
Espresso|2.20
Cappuccino|3.10
Cheese cake|4.50
Soup of the day|5.90
"""), ["vendor"]),
    ("no-vendor", (None, "5.00", None, None), rows("""
COFFEE|5.00
TOTAL|5.00
CASH|10.00
CHANGE|5.00
""")),
    ("no-total", ("Sunny Mart Sdn Bhd", None, None, None), rows("""
Sunny Mart Sdn Bhd
12, Jalan Bunga
SOAP|3.20
RICE|15.90
OIL|8.75
""")),
    ("two-receipts", (None, None, None, None), side_by_side(MALAY, TWO_RATES), ["unsure"]),
    ("upside-down", ("KEDAI RUNCIT PAK ALI", "8.50", "02/03/2019", "MYR"), upside_down(MALAY), ["vendor", "total", "date", "currency"]),
    ("tilted-right", ("MAPLE STREET DINER", "24.37", "21/07/2023", "USD"), tilted(DINER, 6)),
    ("tilted-left", ("MAPLE STREET DINER", "24.37", "21/07/2023", "USD"), tilted(DINER, -6)),
    ("tilted-far", ("Sonnenmarkt GmbH", "3.93", "12/03/2023", "EUR"), tilted(GERMAN, 8)),
    ("tilted-a-little", ("KEDAI RUNCIT PAK ALI", "8.50", "02/03/2019", "MYR"), tilted(MALAY, -4)),
    ("turned-right", ("KEDAI RUNCIT PAK ALI", "8.50", "02/03/2019", "MYR"), turned(MALAY, 1)),
    ("turned-over", ("Sonnenmarkt GmbH", "3.93", "12/03/2023", "EUR"), turned(GERMAN, 2)),
    ("turned-left", ("MAPLE STREET DINER", "24.37", "21/07/2023", "USD"), turned(DINER, 3)),
    ("russian", ("ООО Ромашка", "150.00", None, None), rows("""
ООО Ромашка
г. Москва, ул. Ленина 1
Хлеб|50.00
Молоко|100.00
ИТОГ|150.00
"""), ["vendor", "total"]),
    ("japanese", ("さくら商店", "1280", None, None), rows("""
さくら商店
東京都千代田区1-1
おにぎり|¥280
弁当|¥1,000
合計|¥1,280
"""), ["vendor", "total"]),
    ("bank-statement", (None, None, None, None), rows("""
Northern Bank plc
ACCOUNT STATEMENT
Beginning balance|1,200.00
Card payment|-35.20
Ending balance|1,164.80
""")),
]

here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "sets", "hard.jsonl"), "w", encoding="utf-8") as out:
    for name, (vendor, total, date, currency), lines, *or_null in CASES:
        case = {"name": name, "vendor": vendor, "total": total, "date": date, "currency": currency}
        case |= {"or_null": or_null[0]} if or_null else {}
        out.write(json.dumps({**case, "lines": lines}, ensure_ascii=False, separators=(",", ":")) + "\n")
