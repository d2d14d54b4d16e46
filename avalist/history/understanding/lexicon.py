"""The words by which columns are called, in the languages that shops keep their books in. Names are only a hint: what
the cells hold has to agree.
"""

from __future__ import annotations

import re
from typing import Final


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PAYMENT: Final = _words(
    "payment transaction transactions trans tx txn trx order charge invoice operation purchase sale bestellung "
    "auftrag bestell rechnung transaktion zahlung commande paiement pedido pago orden ordine pagamento "
    "transaccion zamowienie psp bestellung buchung beleg utr rrn booking reservation pnr"
)
ID: Final = _words(
    "id ids no nr num number nummer numero numer ref reference referenz key uuid guid code hash token identifier"
)
TIME: Final = _words(
    "time date datetime timestamp ts created occurred paid at when day dt posted placed ordered datum tag zeit "
    "epoch unix unixtime booked purchased bought sold issued submitted "
    "uhrzeit zeitpunkt zeitstempel fecha hora data ora heure horodatage czas date_time authorised authorized"
)
ZONE: Final = _words("timezone tz zeitzone fuseau fuso zonahoraria tzname")
ZONES: Final = {
    frozenset({summer, winter}): zone
    for zone, winter, summer in (
        ("Europe/Berlin", "CET", "CEST"), ("Europe/Berlin", "MEZ", "MESZ"), ("Europe/London", "GMT", "BST"),
        ("America/New_York", "EST", "EDT"), ("America/Chicago", "CST", "CDT"), ("America/Denver", "MST", "MDT"),
        ("America/Los_Angeles", "PST", "PDT"),
        *((zone, f"{name} TIME (US & CANADA)", f"{name} TIME") for zone, name in (
            ("America/New_York", "EASTERN"), ("America/Chicago", "CENTRAL"), ("America/Denver", "MOUNTAIN"),
            ("America/Los_Angeles", "PACIFIC"))),
    )
}  # fmt: skip
"""Where a column names the time of winter and that of summer, or a zone by its long name, it is the zone of both."""
COUNTERS: Final = {
    "step": "h", "steps": "h", "hour": "h", "hours": "h", "day": "d", "days": "d", "minute": "min", "minutes": "min",
    "week": "w", "weeks": "w", "month": "month", "months": "month",
    "second": "s", "seconds": "s", "sec": "s", "time": "s", "dt": "s", "elapsed": "s", "timestamp": "s", "ts": "s",
}  # fmt: skip
VAGUE: Final = _words("step steps time dt timestamp ts elapsed")
"""Names of counts that do not say what is counted."""
YEAR: Final = _words("year yr jahr année annee año anno ano rok")
MONTH: Final = _words("month mon monat mois mes mese mies miesiąc")
DAY: Final = _words("day tag jour día dia giorno dzień")
HOUR: Final = _words("hour hr stunde heure hora ora")
MINUTE: Final = _words("minute min minuto minuta")
NOT_PAYMENT_TIME: Final = _words(
    "birth dob birthday expiry expires expiration exp chargeback cb dispute disputed fraud report reported "
    "rückbuchung rueckbuchung rückbelastung rueckbelastung rücklastschrift ruecklastschrift contracargo "
    "refund refunded settle settled settlement updated modified signup registered registration joined opened "
    "departure dep arrival travel flight due maturity "
    "first last since delta diff gap geburtsdatum naissance nacimiento alert warning payout delivered shipped "
    "score"
)
AMOUNT: Final = _words(
    "amount amt value total price sum gross betrag summe preis wert umsatz montant prix valeur importe valor "
    "precio monto total_amount importo prezzo kwota cena bedrag transactionamount grand "
    "brutto bruto lordo"
)
NOT_AMOUNT: Final = _words(
    "balance old new avg average mean max min std fee fees tax vat net refund refunded count limit discount "
    "shipping unit items qty quantity number prev previous last ratio score id rank age class type dist saldo "
    "netto neto gebühr gebuehr"
)
MINOR: Final = _words("minor cents cent pence centimes pennies kopecks")
CURRENCY: Final = _words("currency curr ccy cur wahrung währung waehrung devise moneda divisa valuta waluta monnaie")
TOKEN: Final = _words("token tokens tok fingerprint fp hash alias reference")
FRAUD: Final = _words(
    "fraud frd fraudulent isfraud chargeback chargebacks chargedback cb dispute disputed betrug fraude frode "
    "oszustwo fraudster scam unauthorised unauthorized rückbuchung rueckbuchung rückbelastung rueckbelastung "
    "rücklastschrift ruecklastschrift contracargo contestazione impayé impaye chargebacked betrugsfall "
    "betrügerisch betruegerisch fraudulento fraudulenta frauduleux"
)
LEGIT: Final = _words("legit legitimate genuine good valid ok clean nonfraud notfraud")
PAST: Final = _words("previous prev prior past history historical")
LABEL: Final = _words("label target class y outcome bad result truth")
FRAUD_VALUES: Final = re.compile(
    r"(?:.*\b|is[_ ]?)?(?:fraud\w*|illegitimate|illegit|"
    r"charge[ _]?back\w*|charged[ _]?back|disputed?|betrug|fraude|frode|scam|contracargo|"
    r"r(?:ü|ue)ck(?:buchung|belastung|lastschrift))\b.*"
)
NOT_FRAUD_VALUES: Final = re.compile(
    r"\b(?:no|not|non|kein|sin|won|reversed|reversal|withdrawn|cancell?ed)\b|\blegit|genuine|normal"
)
OTHER_MODEL: Final = _words(
    "flagged predicted prediction score scores scored probability proba prob risk suspected suspicious rule "
    "rules alert alerts"
)
WARNING: Final = _words("efw tc40 safe early warning")
CAPTURED: Final = _words("captured capture settled paid")
AUTHORISED: Final = _words("authorised authorized authorisation authorization auth approved issuer approval")
ROW_TYPE: Final = _words("type kind art typ tipo typen vorgang operation")
ROWS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    # what a row is, and the words of its kind; the first that fits wins
    ("other", re.compile(
        r"\b(?:fees?|costs?|payouts?|adjust\w*|reserves?|charge ?backs? (?:won|revers\w*|fees?|lost)|won|represent\w*|"
        r"evidence|inquir\w*|invoice deducti\w*|geb(?:ü|ue)hr(?:en)?|auszahlung(?:en)?)\b")),
    ("chargeback", re.compile(
        r"\b(?:charge ?backs?|charged back|disput(?:e|es|ed)|contracargos?|"
        r"r(?:ü|ue)ck(?:buchung|belastung|lastschrift))\b")),
    ("refund", re.compile(
        r"\b(?:refund(?:s|ed)?|reversals?|reversed|returns?|credit notes?|r(?:ü|ue)ckerstattung|erstattung|gutschrift|"
        r"remboursement|reembolso|devoluci(?:ó|o)n|rimborso)\b")),
    ("payment", re.compile(
        r"\b(?:payments?|charges?|sales?|purchases?|orders?|captures?|captured|settled|checkout|zahlung|kauf|verkauf|"
        r"paiement|pago|venta)\b")),
)  # fmt: skip
REFUND_OF: Final = _words("original originating parent refunded source ursprung ursprungs origine origen")
REFERS: Final = _words("reference ref related linked")
DECISION: Final = _words(
    "decision status action state disposition verdict entscheidung statut estado accepted declined"
)
APPROVED_VALUES: Final = re.compile(
    r"(?:(?:wc|payment|order|transaction|status)[ _-])?(?:good|clean|legit\w*|genuine|normal|no[tn]?[ _-]?fraud\w*|"
    r"approved?|accept(?:ed)?|captured?|succe(?:ss|eded|ssful)|completed?|paid|settled|authori[sz]ed|ok|pass(?:ed)?|"
    r"genehmigt|bezahlt|erstattet|versendet|versandt|geliefert|"
    r"abgeschlossen|fulfilled|allow(?:ed)?|shipped|delivered|(?:partially[ _])?refunded|"
    r"settling|settlement[ _]pending|submitted[ _]for[ _]settlement)"
)
DECLINED_VALUES: Final = re.compile(
    r"(?:(?!not|no\b|non|never|approved|accepted|passed|settle)\w+?[ _-])*"  # who declined
    r"(?:declined?|reject(?:ed)?|refused?|denied|deny|block(?:ed)?|fail(?:ed)?|failure|cancel(?:l?ed)?|void(?:ed)?|error|"
    r"abgelehnt|storniert|fehlgeschlagen|expired|review|pending|challenge[d]?)"
    r"(?:[ _-]by[ _-].+)?"
)
RESPONSE: Final = _words("response resp issuer reason")
CHECKS: Final = _words("avs cvv cvc cv2 cvn 3ds")
"""What an issuer checks: merchants ask before they decide."""
NOT_RESPONSE: Final = _words("country land bank name bin id region currency")
ACCOUNT_SINCE: Final = _words("signup registered registration joined")
ACCOUNT: Final = _words("account customer user member kunde client")
OPENED: Final = _words("created opened since")
AFTERWARDS: Final = _words(
    "decline declined failure fee fees net netto gebühr gebuehr payout payouts "
    "refund refunded refunds chargeback chargebacks dispute disputes disputed investigation investigated "
    "reviewed resolution resolved recovered recovery writeoff loss representment fraud closed after post "
    "newbalance settle settled settlement disbursement disbursed response resp"
)
PERSONAL: Final = _words(
    "contact first last firstname lastname surname name fullname holder cardholder street address addr address1 "
    "address2 line1 line2 dob birth birthday birthdate gender sex ssn passport phone mobile tel telephone "
    "vorname nachname strasse telefon nom prenom nombre apellido geburtsdatum maiden race ethnicity religion"
)
INDEX: Final = _words("unnamed index idx row rownum rowid level")
IDENTIFYING: Final = ID | _words(
    "account acct customer client user card device ip email terminal merchant seller shop store payee session "
    "cookie fingerprint beneficiary recipient member player dest orig sender receiver"
)
MEASURES: Final = _words(
    "similarity match matches valid verified present count counts months days distinct changed same is has flag age"
)
COUNTING: Final = _words(
    "count number num amount total sum age days hours population pop qty quantity score balance limit distance dist"
)

PLACES: Final[tuple[tuple[str, str, frozenset[str]], ...]] = (
    # path in the event, entity's name (empty: no entity), words; the first that fits wins
    ("device.user_agent", "", _words("useragent agent ua browser")),
    ("method.bin", "bin", _words("bin iin card6 first6")),
    ("method.last4", "", _words("last4 lastfour suffix")),
    ("method.fingerprint", "card", _words(
        "card cc pan karte karten kartennummer carte tarjeta carta karta creditcard instrument iban")),
    ("device.id", "device", _words(
        "device fingerprint machine cookie imei appliance gerat gerät appareil dispositivo visitor")),
    ("payee.id", "payee", _words(
        "merchant terminal seller shop store payee beneficiary recipient dest destination vendor mid tid receiver "
        "händler haendler empfänger empfaenger marchand comercio vendedor negozio sklep pos")),
    ("customer.id", "account", _words(
        "customer client user account acct buyer payer member player cust kunde kunden kundennummer konto client_id "
        "orig origin sender usuario cliente utilisateur acheteur klient shopper nutzer uid cpf cnpj vpa upi")),
    ("cart.sku", "product", _words("sku product item game title artikel produkt produit producto article")),
)  # fmt: skip
BILLING: Final[tuple[tuple[str, frozenset[str]], ...]] = (
    ("billing.country", _words("country land pays pais país paese kraj")),
    ("billing.region", _words("state region province bundesland provincia")),
    ("billing.city", _words("city town ort stadt ville ciudad citta miasto")),
    ("billing.postcode", _words("zip zipcode postcode postal plz postleitzahl cp")),
)
CATEGORY: Final = _words("category cat mcc kategorie categorie categoria")
NOT_PLACE: Final = _words(
    "country city state region zip zipcode postcode postal plz category cat mcc type kind class age days gender "
    "segment tier level lat lon long latitude longitude balance email mail phone address street since brand os "
    "browser version score population pop count amount present flag attempts reference ref message messages note "
    "notes comment comments descriptor description status reason brand scheme network group gruppe grupo groupe mode "
    "method entry referenz referencia"
)
NOT_BILLING: Final = _words(
    "ip issuer card bin merchant shipping ship delivery pop population lat long lon latitude longitude device "
    "count counts velocity distinct avs response result match issuance issuing"
)
SUFFIX: Final = re.compile(
    r"(.{3,}?)s?(id|nr|no|num|nummer|number|referenz|datum|tag|date|zeit|time|timestamp|betrag|amount|flag|indicator|label|kennzeichen|merkmal)$"
)
COMPOUNDS: Final = tuple(
    (re.compile(rf"\b{parts}\b"), word)
    for parts, word in (
        ("post code", "postcode"), ("zip code", "zipcode"), ("last (?:4|four)", "last4"), ("first (?:6|six)", "first6"),
    )
)  # fmt: skip
"""Words that mean something else one by one."""


def split(words: tuple[str, ...]) -> frozenset[str]:
    """Return the words with such as ``bestellnr`` taken apart and ``e mail`` put together.

    >>> sorted(split(("buchungsdatum",))), sorted(split(("last", "four", "digits")))
    (['buchung', 'buchungsdatum', 'datum'], ['digits', 'last4', 'last4digits'])
    """
    name = " ".join(words)
    for parts, word in COMPOUNDS:
        name = parts.sub(word, name)
    words = tuple(name.split())
    found = set(words)
    for word in words:
        if match := SUFFIX.fullmatch(word):
            found |= {match[1], match[2]}
    if any(re.fullmatch(r"card\d", word) for word in words):
        found.add("card")
    joined = "".join(words)
    return frozenset(found | {joined, joined.removesuffix("id"), joined.removeprefix("is")})
