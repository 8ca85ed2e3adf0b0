#!/usr/bin/env python3
"""Makes receipts of many countries, with labels: what the confidence curves are fitted to beside SROIE, which is one country.

usage: make-receipts.py FOLDER [COUNT] [SEED]

Writes NAME.json (as DetectDocumentText answers) and labels.jsonl. The same seed makes the same receipts. All names are put together by chance.
A locale is a line: add one to have receipts of another country. What is made judges nothing; it only says how sure a reading may be.
"""
import json, os, random, re, sys

# name: sign before, sign behind, thousands, decimal mark, decimals, tax's name and rate (on top?), words, towns, telephone, date
LOCALES = {
    "us": ("$", "", ",", ".", 2, "Tax", 8.25, True, "en", ["Fairview, OR 97024", "MILL CREEK, WA 98012", "Ashton ID 83420", "DOVER DE"], "(503) 555-01##", "%m/%d/%Y"),
    "us-bare": ("", "", ",", ".", 2, "SALES TAX", 6.5, True, "en", ["Salem, OH 44460", "ATHENS GA 30601"], "706-555-01##", "%m/%d/%y"),
    "ca": ("$", "", ",", ".", 2, "GST", 5, True, "en", ["Kelowna, BC V1Y 6N4", "Guelph ON N1H 3A1"], "250-555-01##", "%Y-%m-%d"),
    "gb": ("£", "", ",", ".", 2, "VAT 20%", 20, False, "en", ["Leeds LS1 4AP", "Bath BA1 1AA"], "0113 496 0###", "%d/%m/%Y"),
    "au": ("$", "", ",", ".", 2, "GST included", 10, False, "en", ["Carlton VIC 3053", "Surry Hills NSW 2010"], "(03) 5550 1###", "%d/%m/%Y"),
    "in": ("", "", ",", ".", 2, "CGST 2.5%", 5, True, "en", ["Pune - 411001", "Kochi, KL 682011"], "020 5550 1###", "%d/%m/%Y"),
    "sg": ("$", "", ",", ".", 2, "GST 7%", 7, True, "en", ["Singapore 238801", "SINGAPORE 049213"], "6555 01##", "%d/%m/%Y"),
    "za": ("R", "", ",", ".", 2, "VAT 15%", 15, False, "en", ["Cape Town 8001", "Durban 4001"], "021 555 01##", "%Y/%m/%d"),
    "ke": ("KES ", "", ",", ".", 2, "VAT 16%", 16, False, "en", ["Nairobi", "Mombasa"], "020 555 01##", "%d-%m-%Y"),
    "de": ("", "", ".", ",", 2, "MwSt 19%", 19, False, "de", ["50667 Köln", "80331 München"], "0221 5550 1##", "%d.%m.%Y"),
    "fr": ("", " €", " ", ",", 2, "TVA 10%", 10, False, "fr", ["69002 LYON", "33000 Bordeaux"], "04 55 50 01 ##", "%d/%m/%Y"),
    "es": ("", " €", ".", ",", 2, "IVA 10%", 10, False, "es", ["28004 Madrid", "41001 SEVILLA"], "915 550 1##", "%d/%m/%Y"),
    "it": ("€ ", "", ".", ",", 2, "IVA 10%", 10, False, "it", ["00184 ROMA RM", "50122 Firenze"], "06 5550 1###", "%d/%m/%Y"),
    "nl": ("€ ", "", ".", ",", 2, "BTW 9%", 9, False, "nl", ["1012 AB Amsterdam", "3511 AX Utrecht"], "020 555 01##", "%d-%m-%Y"),
    "br": ("R$ ", "", ".", ",", 2, "ICMS", 0, False, "pt", ["Campinas - SP", "Recife/PE"], "(19) 5550-1###", "%d/%m/%Y"),
    "id": ("Rp ", "", ".", ",", 0, "PPN 10%", 10, True, "en", ["Bandung 40111", "Jakarta Pusat"], "022 5550 1##", "%d/%m/%Y"),
    "vn": ("", "", ",", ".", 0, "VAT 10%", 10, False, "en", ["Quan 1, TP.HCM", "Ha Noi"], "028 5550 1##", "%d/%m/%Y"),
    "th": ("", "", ",", ".", 2, "VAT 7%", 7, False, "en", ["Bangkok 10110", "Chiang Mai 50200"], "02 555 01##", "%d/%m/%Y"),
}
WORDS = {
    "en": dict(total=["TOTAL", "Total", "Total Due", "AMOUNT DUE", "Grand Total", "BALANCE DUE", "Total:", "NET TOTAL"], sub=["Subtotal", "SUB TOTAL", "Sub-Total"], cash=["Cash", "CASH"], card=["VISA", "Mastercard", "AMEX"], change=["Change", "CHANGE DUE"], street=["Mill Street", "Hill Road", "Oak Ave", "Station Road", "Main St"], title=["RECEIPT", "TAX INVOICE", "Guest Check", "SALES RECEIPT"], thanks=["Thank you!", "Please come again"]),
    "de": dict(total=["SUMME", "Gesamtbetrag", "Zu zahlen", "Summe EUR"], sub=["Zwischensumme"], cash=["Bar", "Gegeben"], card=["EC-Karte", "girocard"], change=["Rückgeld"], street=["Hauptstr.", "Lindenweg", "Marktplatz"], title=["Rechnung", "Beleg"], thanks=["Vielen Dank"]),
    "fr": dict(total=["TOTAL", "Total TTC", "NET A PAYER", "Somme"], sub=["Sous-total", "Total HT"], cash=["Espèces"], card=["CB"], change=["Rendu"], street=["rue Haute", "place du Pont"], title=["TICKET", "Facture"], thanks=["Merci de votre visite"]),
    "es": dict(total=["TOTAL", "Total a pagar", "IMPORTE TOTAL"], sub=["Subtotal", "Base imponible"], cash=["Efectivo"], card=["Tarjeta"], change=["Cambio"], street=["Calle Alta", "Plaza Nueva"], title=["TICKET", "Factura simplificada"], thanks=["Gracias por su visita"]),
    "it": dict(total=["TOTALE", "TOTALE COMPLESSIVO", "Totale euro"], sub=["SUBTOTALE"], cash=["CONTANTI"], card=["CARTA"], change=["RESTO"], street=["Via Roma", "Piazza Nuova"], title=["RICEVUTA", "DOCUMENTO COMMERCIALE"], thanks=["GRAZIE"]),
    "nl": dict(total=["TOTAAL", "Te betalen"], sub=["Subtotaal"], cash=["Contant"], card=["PIN", "Maestro"], change=["Wisselgeld"], street=["Kerkstraat", "Marktplein"], title=["BON"], thanks=["Bedankt"]),
    "pt": dict(total=["TOTAL", "Valor a pagar", "VALOR TOTAL"], sub=["Subtotal"], cash=["Dinheiro"], card=["Cartão"], change=["Troco"], street=["Rua Alta", "Avenida Nova"], title=["RECIBO"], thanks=["Obrigado"]),
}
FIRST = "Amber Birch Copper Driftwood Elder Fennel Granite Hollow Ivory Juniper Kestrel Linden Maple Nutmeg Orchard Pepper Quill Raven Saffron Tamarind Umber Velvet Willow Yarrow Zephyr Bluebird Foxglove Lantern Marigold Pebble".split()
LAST = "Creek Harbour Lane Table Barn Corner Garden Field Spoon Kettle Anchor Gate Acre Hearth Basket Well House Bridge Wharf Star".split()
MADE = "Zorvani Kelmart Brintos Lumico Tavella Ortano Quixel Vandero Mirobo Selka Duravo Nimbro Pashto Korvina Belluro Fanzaro".split()
KINDS = ["Cafe", "Restaurant", "Bakery", "Pharmacy", "Hardware", "Books", "Market", "Diner", "Grill", "Bistro", "Pizza", "Hotel", "Florist", "Fuel"]
LEGAL = {"us": "LLC", "gb": "Ltd", "de": "GmbH", "fr": "SARL", "es": "S.L.", "it": "S.R.L.", "nl": "B.V.", "br": "Ltda", "sg": "Pte Ltd", "in": "Pvt Ltd", "au": "Pty Ltd"}
DESCRIPTORS = ["Thai Street Kitchen", "Family Restaurant", "Coffee & Tea", "Italian Restaurant", "Seafood & Grill", "Bakery and Cafe", "Mexican Grill"]
SLOGANS = ["Fresh every day", "Where good things grow", "Save more. Live well.", "Tell us how we did", "Quality since 1987", "The taste of home", "Always here for you"]
PLACES = ["Riverside Mall", "Oakfield Shopping Centre", "Terminal 2", "Northgate Plaza", "Old Town", "Harbour Front", "East Wing", "Level 3"]
ITEMS = "Tea Coffee Soup Rice Noodles Pie Bread Milk Apples Soap Tape Paint Burger Fries Salad Juice Cake Steak Pasta Curry Socks Shirt Lamp Candle".split()

# Whether letters are misread.
NOISE = False

def money(x, locale, bare=False):
    before, behind, thousands, mark, decimals = locale[:5]
    whole, cents = divmod(round(x * 100), 100)
    text = f"{whole:,}".replace(",", thousands) + (f"{mark}{cents:02}" if decimals else "")
    return text if bare else before + text + behind

def name(r):
    kind = r.choice(KINDS)
    forms = [f"{r.choice(FIRST)} {r.choice(LAST)}", f"{r.choice(MADE)}", f"{r.choice(FIRST)} {kind}", f"{r.choice(FIRST)} {r.choice(LAST)} {kind}", f"{r.choice(MADE)}'s", f"The {r.choice(FIRST)} {r.choice(LAST)}", f"{r.choice(FIRST)} & {r.choice(LAST)}"]
    text = r.choice(forms)
    return r.choice([text.upper(), text, text, text.lower() if r.random() < 0.2 else text.upper()])

def number(pattern, r):
    return "".join(r.choice("0123456789") if c == "#" else c for c in pattern)

def receipt(r):
    code = r.choice(list(LOCALES)); locale = LOCALES[code]
    _, _, _, _, decimals, tax_name, rate, on_top, language, towns, telephone, date = locale
    words = WORDS[language]
    vendor = name(r)
    accept = [vendor]
    has_form = code in LEGAL and r.random() < 0.25
    top = [vendor + (" " + LEGAL[code] if has_form else "")]
    if has_form: accept = [top[0]]
    if len(vendor.split()) == 2 and r.random() < 0.08 and not has_form: top = vendor.split()
    # Above and below the name stand slogans, branches, malls, titles.
    if r.random() < 0.12: top.insert(0, r.choice(SLOGANS))
    elif r.random() < 0.08: top.insert(0, f"Store #{r.randint(10, 9999)}")
    elif r.random() < 0.06: top.insert(0, r.choice(PLACES))
    elif r.random() < 0.08: top.insert(0, r.choice(words["title"]))
    elif r.random() < 0.05 and language == "en": top = ["Welcome to " + top[0]] if len(top) == 1 else top
    if r.random() < 0.15: top.append(r.choice(DESCRIPTORS)); accept.append(accept[0] + " " + top[-1])
    elif r.random() < 0.12: top.append(r.choice(PLACES))
    elif r.random() < 0.10: top.append(f"Store #{r.randint(10, 9999)}"); accept.append(accept[0] + " " + top[-1])
    elif r.random() < 0.06: top.append(r.choice(SLOGANS))
    if r.random() < 0.85: top.append(f"{r.randint(1, 240)} {r.choice(words['street'])}" if language in ("en", "fr") else f"{r.choice(words['street'])} {r.randint(1, 240)}")
    if r.random() < 0.8: top.append(r.choice(towns))
    if r.random() < 0.7: top.append(r.choice(["Tel ", "", "Phone: "]) + number(telephone, r))
    if r.random() < 0.3: top.append(r.choice(["Server: Ann", "Table 12", "Cashier: 3", "Order #1042", "Guests: 2"]))
    day = f"{r.randint(1, 28):02} {r.randint(1, 12):02} {r.randint(2010, 2024)}".split()
    shown = date.replace("%d", day[0]).replace("%m", day[1]).replace("%Y", day[2]).replace("%y", day[2][2:])
    rows = [[line] for line in top]
    if r.random() < 0.8: rows.append([shown + r.choice(["", " 14:10", " 02:10 PM"])])
    # Items, sums, payment.
    bare = r.random() < 0.6
    unit = 1 if decimals else 1000
    prices = [round(r.uniform(0.8, 40) * (1 if decimals else 10), 2) for _ in range(r.randint(1, 8))]
    prices = [p if decimals else round(p) * unit for p in prices]
    if code == "in": prices = [p * 10 for p in prices]
    for price in prices:
        item = r.choice(ITEMS) + r.choice(["", " large", " 2x", " No " + str(r.randint(1, 40))])
        rows.append([r.choice(["", "1 ", "2 "]) + item, money(price, locale, bare)])
    subtotal = round(sum(prices), 2)
    tax = round(subtotal * rate / 100, 2) if on_top else round(subtotal * rate / (100 + rate), 2)
    if not decimals: tax = float(round(tax))
    total = round(subtotal + tax, 2) if on_top else subtotal
    if on_top or r.random() < 0.4: rows.append([r.choice(words["sub"]), money(subtotal, locale, bare)])
    if rate and on_top:
        if code == "in":
            half = round(tax / 2, 2); total = round(subtotal + 2 * half, 2)
            rows += [["CGST 2.5%", money(half, locale, bare)], ["SGST 2.5%", money(half, locale, bare)]]
        else: rows.append([tax_name, money(tax, locale, bare)])
    if r.random() < 0.06 and decimals: less = round(total * 0.1, 2); rows.append([r.choice(["Discount", "Promo"]), "-" + money(less, locale, True)]); total = round(total - less, 2)
    rows.append([r.choice(words["total"]), money(total, locale)])
    if rate and not on_top and r.random() < 0.7: rows.append([tax_name, money(tax, locale, bare)])
    way = r.random()
    if way < 0.35:
        given = (int(total / (10 * unit)) + 1) * 10 * unit
        rows += [[r.choice(words["cash"]), money(given, locale, bare)], [r.choice(words["change"]), money(given - total, locale, bare)]]
    elif way < 0.8: rows.append([r.choice(words["card"]), money(total, locale, bare)])
    if r.random() < 0.1 and language == "en": rows += [["Suggested tip 15%", money(round(total * 0.15, 2), locale, bare)], ["Suggested tip 20%", money(round(total * 0.2, 2), locale, bare)]]
    rows.append([r.choice(words["thanks"])])
    return vendor, accept, total if decimals else int(total), rows, len(top)

def misread(text, r, noise):
    alike = {"O": "0", "0": "O", "l": "1", "1": "l", "S": "5", "5": "S", "B": "8", "e": "c", "m": "rn", ".": ",", "a": "o", "t": "r"}
    return "".join(alike[c] if c in alike and r.random() < noise else c for c in text)

def blocks(rows, head, r):
    # Without misread letters: how OCR errs, and how sure it is then, only real OCR tells.
    noise = NOISE and r.choice([0, 0, 0, 0.004, 0.012, 0.03])
    skew, step = r.uniform(-0.02, 0.02), r.uniform(0.02, 0.035)
    left, width = r.uniform(0.03, 0.2), r.uniform(0.55, 0.8)
    lines = []
    for number, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            text = misread(cell, r, noise)
            large = r.choice([1, 1, 1.3, 1.8]) if number == 0 else 1
            high = step * 0.68 * large * r.uniform(0.9, 1.1)
            wide = min(width, 0.018 * len(text) * large)
            x = left + (width - wide) / 2 if number < head and len(cells) == 1 else left if column == 0 else left + width - wide
            y = 0.03 + step * number + skew * (x + wide / 2) + r.uniform(-0.002, 0.002)
            sure = 99.0 - (r.uniform(0, 400 * noise + 10) if noise else 0)
            lines.append({"BlockType": "LINE", "Text": text, "Confidence": round(max(sure, 30.0), 2), "Geometry": {"BoundingBox": {"Left": round(x, 4), "Top": round(y, 4), "Width": round(wide, 4), "Height": round(high, 4)}}})
    return {"DocumentMetadata": {"Pages": 1}, "Blocks": lines}

def main():
    folder, count, seed = (sys.argv[1:] + ["1500", "7"][max(0, len(sys.argv) - 2):])[:3]
    count, r = int(count), random.Random(int(seed))
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "labels.jsonl"), "w", encoding="utf-8") as labels:
        for number in range(count):
            vendor, accept, total, rows, head = receipt(r)
            key = f"made-{number:04}"
            with open(os.path.join(folder, key + ".json"), "w", encoding="utf-8") as out: json.dump(blocks(rows, head, r), out, ensure_ascii=False)
            label = {"name": key, "vendor": vendor, "vendor_accept": sorted({re.sub(r"[^a-z0-9]", "", form.lower()) for form in accept + [vendor]}), "total": f"{total:.2f}" if isinstance(total, float) else str(total), "date": None}
            labels.write(json.dumps(label, ensure_ascii=False) + "\n")

if __name__ == "__main__":
    main()
