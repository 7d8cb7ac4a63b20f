ardour { ["type"] = "dsp", name = "Test noise", category = "Generator", license = "MIT", author = "Claviger", description = [[The tests' noise, by a counter that begins when the processor is made.]] }

function dsp_ioconfig () return { { audio_in = 2, audio_out = 2 } } end

local counter = 0

local function noise (sample, channel)
	local n = (sample * 2654435761 + channel * 40503) & 0xffffffff
	n = ((n ~ (n >> 15)) * 2246822519) & 0xffffffff
	return (n >> 8) / 16777216.0 - 0.5
end

function dsp_run (ins, outs, n_samples)
	for c = 1, #outs do
		local out = outs[c]:array ()
		for i = 1, n_samples do
			out[i] = noise (counter + i - 1, c - 1)
		end
	end
	counter = counter + n_samples
end
