-- Run by ardour7-lua. Arguments, through the environment: CT_SESSION (a folder to be made), CT_SECONDS.
-- Makes a session with one stereo track, puts the test noise and the plug-in on it, and bounces the track whenever a line comes
-- on standard input. Says what happens in lines that begin with "ct".
local function say (...) print ("ct", ...); io.stdout:flush () end

AudioEngine:set_backend ("None (Dummy)", "", "")
local session = create_session (os.getenv ("CT_SESSION"), "t", 48000)
assert (session, "no session")
local tracks = session:new_audio_track (2, 2, nil, 1, "tilt", ARDOUR.PresentationInfo.max_order, ARDOUR.TrackMode.Normal, true)
local track = tracks:front ()

local noise = ARDOUR.LuaAPI.new_luaproc (session, "Test noise")
assert (noise and not noise:isnil (), "no noise")
local tilt = ARDOUR.LuaAPI.new_plugin (session, "https://example.com/plugins/tilt", ARDOUR.PluginType.LV2, "")
assert (tilt and not tilt:isnil (), "no plug-in")
assert (track:add_processor_by_index (noise, 0, nil, true) == 0)
assert (track:add_processor_by_index (tilt, 1, nil, true) == 0)

say ("ready")
local seconds = tonumber (os.getenv ("CT_SECONDS"))
for line in io.lines () do
	if line == "bounce" then
		local region = track:bounce_range (0, seconds * 48000, ARDOUR.InterThreadInfo (), tilt, true, "bounced")
		assert (region and not region:isnil (), "nothing was bounced")
		say ("bounced")
	elseif line == "end" then
		break
	end
end
close_session ()
say ("closed")
quit ()
