"""The cTrader broker: Spotware's Open API over TLS. Nothing of Twisted or protobuf leaves this package."""
