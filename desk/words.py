"""The words of the desk, Chinese and English: the one place where they are written. A page shows the site's language alone."""

from typing import NamedTuple


class Word(NamedTuple):
    """One expression in both languages; `{name}` stands for a value."""

    zh: str
    en: str


WORDS: dict[str, Word] = {
    # Every page
    "desk": Word("工作台", "Desk"),
    "boards": Word("看板", "Boards"),
    "log_in": Word("登录", "Log in"),
    "log_out": Word("退出", "Log out"),
    "viewer": Word("查看者", "viewer"),
    "operator": Word("操作员", "operator"),
    "admin": Word("管理员", "administrator"),
    "skip": Word("跳到内容", "Skip to the content"),
    "back": Word("返回", "Back"),
    # Alarms
    "alarms": Word("报警", "Alarms"),
    # Log-in
    "user": Word("用户名", "User name"),
    "password": Word("密码", "Password"),
    "login_hint": Word("使用看板 (Grafana) 的用户名和密码。", "With your name and password of the boards (Grafana)."),
    "wrong_login": Word("用户名或密码不正确。", "User name or password is wrong."),
    "no_role": Word(
        "该用户在 Grafana 主组织中没有角色，请联系管理员。",
        "This user has no role in Grafana's main organisation; ask the administrator.",
    ),
    "wait": Word("登录失败次数过多，请 {seconds} 秒后再试。", "Too many failures: try again in {seconds} seconds."),
    "grafana_away": Word(
        "Grafana 没有应答，暂时无法登录；请稍后再试，或联系管理员。",
        "Grafana does not answer, so nobody can log in now; try again later, or ask the administrator.",
    ),
    # Refusals
    "refused": Word("未执行", "Not done"),
    "needs_role": Word("此操作需要“{role}”权限。", "This needs the role {role}."),
    "foreign_form": Word(
        "表单已过期或来自别处，没有作任何更改；请重新打开页面再提交。",
        "The form is too old or came from elsewhere, nothing was changed; open the page again and send it from there.",
    ),
    "no_form": Word("提交的内容无法识别，没有作任何更改。", "What was sent is no form; nothing was changed."),
    "form_too_long": Word("提交的内容超过 {most} 字节。", "What was sent is longer than {most} bytes."),
    "too_long": Word("“{field}”超过 {most} 个字符。", "{field} is longer than {most} characters."),
    "wrong_value": Word("“{field}”的值不可用：{value}", "{field} has a value that cannot be used: {value}"),
    "not_found": Word("没有这一页或这一条。", "There is no such page or entry."),
    "not_allowed": Word("此页不接受这种请求。", "This page does not take such a request."),
    "no_database": Word("数据库没有应答，请稍后再试。", "The database does not answer; try again later."),
    "no_tables": Word("尚无数据：指标还没有发布。", "No data yet: the figures are not published."),
    "broken": Word("出现错误，已记入日志。", "Something went wrong; it is in the log."),
}


def word(key: str, language: str, **values: object) -> str:
    """The expression in a language. Raises `KeyError` for one that is not written here."""
    text: str = getattr(WORDS[key], language)
    return text.format(**values) if values else text
