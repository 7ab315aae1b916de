# SPDX-License-Identifier: Apache-2.0
"""atoll.lua: a dissector for Wireshark, for captures of msgdump and for messages inside RoCEv2."""

BITS = {"u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64"}

HEAD = """\
-- SPDX-License-Identifier: Apache-2.0
-- Generated from proto/schema.toml by proto/generate.py.
--
-- Dissects what `msgdump --write` captures (records of a node's rings, link type USER0) and the messages
-- between nodes inside RoCEv2 packets. To use it: copy it to ~/.local/lib/wireshark/plugins, or
-- wireshark -X lua_script:atoll.lua. Where the UDP port is not 4791: -d udp.port==PORT,infiniband.
local atoll = Proto("atoll", "Atoll")
"""

BODY = """\
local bad_slots = ProtoExpert.new("atoll.bad_slots", "a record that is not as long as it says",
	expert.group.MALFORMED, expert.severity.ERROR)
local bad_range = ProtoExpert.new("atoll.bad_range", "out of range",
	expert.group.PROTOCOL, expert.severity.WARN)
atoll.experts = {bad_slots, bad_range}

local function record(r, tvb, tree)
	for _, x in ipairs(r.fields) do
		local at = x.at
		for _ = 1, x.repeated or 1 do
			if x.bytes then
				tree:add(x.field, tvb(at, x.size))
			else
				tree:add_le(x.field, tvb(at, x.size))
			end
			at = at + x.size
		end
	end
end

local function kind(flags)
	if bit.band(flags, REPLY) ~= 0 then return "reply" end
	if bit.band(flags, EVENT) ~= 0 then return "event" end
	if bit.band(flags, ASYNC) ~= 0 then return "async" end
	return "request"
end

-- Registers: one in the header slot, seven in each further one; @slots that are there.
local function registers(tvb, slots, tree, args)
	for i = 0, slots * 7 - 7 do
		local at = i == 0 and 48 or 64 + math.floor((i - 1) / 7) * 64 + (i - 1) % 7 * 8
		local value = tvb(at, 8):le_uint64()
		local a = args[i + 1]
		if a then
			local item = tree:add_le(a.field, tvb(at, 8))
			if value < a.min or value > a.max then
				item:add_proto_expert_info(bad_range)
			end
		elseif value ~= UInt64(0) then
			tree:add_le(f_more, tvb(at, 8)):prepend_text("register " .. i .. ": ")
		end
	end
	-- what is left out is zero
	for i = slots * 7 - 6, #args - 1 do
		tree:add(args[i + 1].field, UInt64(0)):set_generated()
	end
end

-- A message whose first @slots are there. @payload: a range, or nil. Returns what to show in a line.
local function message(tvb, slots, tree, payload)
	local opcode, flags, status = tvb(4, 2):le_uint(), tvb(6, 2):le_uint(), tvb(20, 2):le_uint()
	local op, length = opcodes[opcode], tvb(8, 4):le_uint()
	local reply = bit.band(flags, REPLY) ~= 0
	local body = op and (reply and op.reply or not reply and op.request) or nil
	local name = op and op.name or string.format("opcode 0x%04x", opcode)
	local t = tree:add(atoll, tvb(0, slots * 64), "Atoll " .. name .. " " .. kind(flags))

	record(records.message, tvb, t)
	t:add(f_name, tvb(4, 2), name)
	t:add(f_kind, tvb(6, 2), kind(flags))
	t:add(f_src_node, tvb(19, 1))
	t:add_le(f_src_endpoint, tvb(16, 3))
	if body and not (reply and status ~= 0) then
		registers(tvb, slots, t, body.args)
	else
		registers(tvb, slots, t, {})
	end
	if payload and payload:len() > 0 then
		t:add(body and body.text and f_text or f_data, payload)
	end
	return name .. " " .. kind(flags)
end

local function verb(tvb, slots, tree)
	local op = tvb(4, 1):le_uint()
	local t = tree:add(atoll, tvb(0, slots * 64), "Atoll verb")

	record(records.verb, tvb, t)
	if (op == CAS or op == FAA) and slots > 1 then
		record(records.verb_operands, tvb(64, 64):tvb(), t)
	end
	return "verb"
end

local function completion(tvb, tree)
	local t = tree:add(atoll, tvb(0, 64), "Atoll completion")
	local count = math.min(tvb(6, 1):le_uint(), 16)

	record(records.completion, tvb, t)
	for i = 0, count - 1 do
		t:add_le(f_verb_status, tvb(16 + i, 1))
	end
	return "completion"
end

-- What msgdump writes: an entry of a trace, with up to two slots of a record.
local function trace(tvb, pinfo, tree)
	local point = tvb(2, 1):le_uint()
	local t = tree:add(atoll, tvb(0, 192), "Atoll trace")
	local slots = math.max(1, math.min(2, tvb(27, 1):le_uint()))
	local captured = math.min(tvb(20, 4):le_uint(), 32)
	local inner = tvb(24, 128):tvb()

	record(records.trace_entry, tvb, t)
	if point == VERB then
		return verb(inner, 2, t)
	elseif point == COMPLETION then
		return completion(inner, t)
	end
	return message(inner, slots, t, captured > 0 and tvb(152, captured) or nil)
end

function atoll.dissector(tvb, pinfo, tree)
	if tvb:len() < 64 then return 0 end
	pinfo.cols.protocol = "Atoll"
	if tvb(0, 2):le_uint() == records.trace_entry.magic and tvb:len() == 192 then
		pinfo.cols.info = trace(tvb, pinfo, tree)
		return 192
	end
	return 0
end

-- A link's packet: messages one after another, each with its payload, padded to eight bytes.
local function link(tvb, pinfo, tree)
	local off, said = 0, {}

	if tvb:len() < 64 or tvb(0, 2):le_uint() ~= records.message.magic or tvb(2, 1):le_uint() ~= MAJOR then
		return false
	end
	while tvb:len() - off >= 64 and tvb(off, 2):le_uint() == records.message.magic do
		local slots, length = tvb(off + 3, 1):le_uint(), tvb(off + 8, 4):le_uint()
		local size = slots * 64

		if slots < 1 or slots > 4 or size > tvb:len() - off or length > tvb:len() - off - size then
			tree:add_proto_expert_info(bad_slots)
			break
		end
		said[#said + 1] = message(tvb(off, size):tvb(), slots, tree,
			length > 0 and tvb(off + size, length) or nil)
		off = off + size + math.floor((length + 7) / 8) * 8
	end
	pinfo.cols.protocol = "Atoll"
	pinfo.cols.info = table.concat(said, ", ")
	return true
end

DissectorTable.get("wtap_encap"):add((wtap or wtap_encaps).USER0, atoll)
atoll:register_heuristic("infiniband.payload", link)
"""


def _quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _number(v):
    """A u64 as Lua for a UInt64."""
    return f"UInt64({v & 0xffffffff:#x}, {v >> 32:#x})"


class _Fields:
    def __init__(self):
        self.out = []
        self.count = 0

    def add(self, abbr, name, type_, values=None, base=None):
        """Declares a field and returns how it is called."""
        self.count += 1
        ident = f"F[{self.count}]"
        extra = ""
        if type_ in BITS.values():
            base = base or "base.DEC"
            if values and values.bits:
                base = "base.HEX"
            extra = f", {base}"
            if values and not values.bits:
                extra += f", V.{values.name}"
        self.out.append(f"{ident} = ProtoField.{type_}({_quoted(abbr)}, {_quoted(name)}{extra})")
        return ident


def _record(r, fields):
    out = [f"records.{r.name} = {{magic = {r.magic or 0:#x}, fields = {{"]
    for x in r.fields:
        abbr = f"atoll.{r.name}.{x.name}"
        if x.type == "char":
            ident, size, extra = fields.add(abbr, x.name, "string"), x.size, ", bytes = true"
        elif x.count > 1:
            ident, size, extra = fields.add(abbr, x.name, "bytes"), x.size, ", bytes = true"
        else:
            base = "base.HEX" if x.name in ("magic", "opcode") else None
            ident, extra = fields.add(abbr, x.name, BITS[x.type], x.values, base), ""
            size = x.size
        out.append(f"\t{{at = {x.at}, size = {size}, field = {ident}{extra}}},")
    return out + ["}}"]


def _body(o, which, b, fields):
    out = [f"\t{which} = {{text = {str(b.payload.type == 'string').lower()}, args = {{"]
    for a in b.args:
        ident = fields.add(f"atoll.{o.name}.{which}.{a.name}", a.name, "uint64", a.values)
        out.append(f"\t\t{{field = {ident}, min = {_number(a.min)}, max = {_number(a.max)}}},")
    return out + ["\t}},"]


def emit(model):
    fields = _Fields()
    tables = ["local records = {}"]
    for r in model.records:
        if r.name in ("message", "verb", "verb_operands", "completion", "trace_entry"):
            tables += _record(r, fields)
    tables.append("local opcodes = {}")
    for o in model.opcodes:
        tables.append(f"opcodes[{o.value:#06x}] = {{name = {_quoted(o.name)},")
        tables += _body(o, "request", o.request, fields)
        if o.reply:
            tables += _body(o, "reply", o.reply, fields)
        tables.append("}")
    status = model.statuses
    values = ["local V = {}"]
    for name, vs in [("status", status)] + [(e.name, e.values) for e in model.enums if not e.bits]:
        inner = ", ".join(f"[{v.value}] = {_quoted(v.name)}" for v in vs)
        values.append(f"V.{name} = {{{inner}}}")
    flags = {v.name: v.value for v in next(e for e in model.enums if e.name == "message_flag").values}
    ops = {v.name: v.value for v in next(e for e in model.enums if e.name == "verb_op").values}
    points = {v.name: v.value for v in next(e for e in model.enums if e.name == "trace_point").values}
    own = ["local f_name = ProtoField.string(\"atoll.name\", \"name\")",
           "local f_kind = ProtoField.string(\"atoll.kind\", \"kind\")",
           "local f_src_node = ProtoField.uint8(\"atoll.src_node\", \"source node\")",
           "local f_src_endpoint = ProtoField.uint24(\"atoll.src_endpoint\", \"source endpoint\")",
           "local f_text = ProtoField.string(\"atoll.payload.text\", \"payload\")",
           "local f_data = ProtoField.bytes(\"atoll.payload.data\", \"payload\")",
           "local f_more = ProtoField.uint64(\"atoll.register\", \"register\", base.HEX)",
           "local f_verb_status = ProtoField.uint8(\"atoll.verb_status\", \"status\", base.DEC, V.status)",
           f"local MAJOR, REPLY, EVENT, ASYNC = {model.major}, {flags['REPLY']}, {flags['EVENT']}, "
           f"{flags['ASYNC']}",
           f"local CAS, FAA = {ops['CAS']}, {ops['FAA']}",
           f"local VERB, COMPLETION = {points['VERB']}, {points['COMPLETION']}",
           "local all = {f_name, f_kind, f_src_node, f_src_endpoint, f_text, f_data, f_more, "
           "f_verb_status}",
           "for _, x in ipairs(F) do all[#all + 1] = x end",
           "atoll.fields = all"]
    return "\n".join([HEAD] + values + ["local F = {}"] + fields.out + tables + own + ["", BODY])
