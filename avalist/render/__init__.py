"""A report as a page: the words and plots are made once as blocks, then shown as HTML or Markdown. Reads no file."""

from avalist.render.backtest import backtest_page
from avalist.render.html import page as html_page
from avalist.render.markdown import page as markdown_page
from avalist.render.story import story

__all__ = ["backtest_page", "html_page", "markdown_page", "story"]
