"""Personal data as it stands on the screen until somebody asks, with a reason, to see it."""


def mask_name(name: str | None) -> str:
    """王小明 -> 王**"""
    return f"{name[0]}{'*' * min(2, max(1, len(name) - 1))}" if name else "未登记"


def mask_phone(phone: str | None) -> str:
    """13812345678 -> 138****5678"""
    if not phone:
        return "未登记"
    return f"{phone[:3]}****{phone[-4:]}" if len(phone) >= 11 else "****"


def mask_address(home: str | None) -> str:
    """Only the first characters."""
    return f"{home[:2]}****" if home else "未登记"
