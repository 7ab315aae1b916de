# SPDX-License-Identifier: Apache-2.0
"""Makes C, documentation and the Wireshark dissector from Atoll's schema.

model.py reads and checks the schema; cheader.py, csource.py, reference.py and dissector.py each
turn the checked model into one output. None of them checks anything again.
"""
