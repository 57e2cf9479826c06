"""Where a person finds things: the index page and the addresses at the end of ``make up``.

Lives here: the words of both. Doesn't: the page's form (``pages``), its figures (``home``).
"""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console

from tidemark import naming
from tidemark.local.airflow import USER, AirflowServer
from tidemark.local.layout import Layout
from tidemark.local.pages import Link, write_index

_QUERY = "select * from gold.ohlcv_1h limit 5"


@dataclass(frozen=True)
class Front:
    """The addresses of one stack."""

    layout: Layout
    airflow: AirflowServer

    @property
    def psql(self) -> str:
        """A line for the shell that asks the marts something."""
        return f"psql {self.layout.postgres.url(user=naming.ROLE_GOLD_READER)} -c '{_QUERY}'"

    @property
    def psql_ops(self) -> str:
        """The same for people on call: every schema, read-only."""
        return f"psql {self.layout.postgres.url(user=naming.ROLE_OPS_READER)}"

    def write_index(self) -> None:
        """Write the index page; its figures are asked for when somebody looks."""
        write_index(self.layout.pages_root, self._links(), self.psql)

    def show_addresses(self, console: Console) -> None:
        """Print where everything is, and how to log in."""
        pages = self.layout.pages.url
        lines = {
            "Airflow": f"{self.airflow.url}   user {USER}, password {self.airflow.password}",
            "Daily report": f"{pages}/digest/",
            "dbt docs": f"{pages}/dbt/",
            "Data quality": f"{pages}/quality/",
            "All pages": f"{pages}/",
            "PostgreSQL": self.psql,
            "  on call": f"{self.psql_ops}   (reads ops, gold, silver and raw)",
        }
        console.print()
        for name, address in lines.items():  # not folded: they are there to be copied
            console.print(f"  {name:<14}{address}", soft_wrap=True, highlight=False, markup=False)

    def _links(self) -> list[Link]:
        return [
            Link(
                "digest/",
                "Daily report",
                "일일 리포트",
                "The market day, as posted to Slack",
                "Slack에 올라가는 하루치 시장 요약",
            ),
            Link(
                "dbt/",
                "dbt docs",
                "dbt 문서",
                "Every model and column, with its lineage",
                "모든 모델과 컬럼, 그리고 계보",
            ),
            Link(
                "quality/",
                "Data quality",
                "데이터 품질",
                "What the latest check expected of new rows, and what it found",
                "새로 들어온 행에 대한 최근 점검 결과",
            ),
            Link(
                self.airflow.url,
                "Airflow",
                "Airflow",
                f"User {USER}; the password is shown by make up",
                f"사용자 {USER}, 비밀번호는 make up이 보여 줍니다",
            ),
        ]
