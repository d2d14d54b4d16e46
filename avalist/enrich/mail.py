"""Domains under which anybody may have an e-mail address for nothing: the well-known ones. By our own hand."""

from __future__ import annotations

from typing import Final

_FREE = """
126.com 163.com aim.com alice.it aliyun.com aol.com arcor.de att.net bellsouth.net bigpond.com bluewin.ch bol.com.br
btinternet.com centrum.cz comcast.net cox.net daum.net duck.com email.cz fastmail.com foxmail.com free.fr freemail.hu
freenet.de gmail.com gmx.at gmx.ch gmx.com gmx.de gmx.net googlemail.com hanmail.net hey.com hotmail.co.uk hotmail.com
hotmail.de hotmail.es hotmail.fr hotmail.it icloud.com ig.com.br inbox.lv inbox.ru interia.pl laposte.net libero.it
list.ru live.co.uk live.com live.fr live.nl mac.com mail.com mail.de mail.ru me.com msn.com naver.com neuf.fr o2.pl
onet.pl optonline.net orange.fr outlook.com outlook.de outlook.es outlook.fr pm.me posteo.de proton.me protonmail.com
qq.com rambler.ru rediffmail.com rocketmail.com sbcglobal.net seznam.cz sfr.fr sina.com sky.com sohu.com t-online.de
tiscali.it tutanota.com ukr.net uol.com.br verizon.net virgilio.it wanadoo.fr web.de wp.pl ya.ru yahoo.ca yahoo.co.in
yahoo.co.jp yahoo.co.uk yahoo.com yahoo.com.br yahoo.de yahoo.es yahoo.fr yahoo.it yandex.com yandex.ru yeah.net
ymail.com zoho.com
"""
FREE_MAIL: Final = frozenset(_FREE.split())
