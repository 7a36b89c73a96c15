"""The fake WeCom corporation: members and their app, external contacts, WeChat customer service."""
