"""Who plays whom: the opponent samplers that come with the library, one file each."""
