package redfish

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/ingot-metal/ingot/pkg/bmc"
	"github.com/ingot-metal/ingot/pkg/bmc/quirk"
)

func TestQuirkBIOSApplyTime(t *testing.T) { // quirk.BIOSApplyTime
	// dell/iDRAC-Redfish-Scripting, Redfish Python/…: the body has
	// {"@Redfish.SettingsApplyTime": {"ApplyTime": "OnReset"}, "Attributes": {…}} and
	// the answer is 202 with the job in Location. Without it the values are kept as
	// pending with no job, and the next start leaves them as they are (OpenStack
	// story 2008163).
	const job = "/redfish/v1/TaskService/Tasks/JID_878659984891"
	for _, on := range []bool{false, true} {
		b := newBIOS(t)
		scheduled := false
		b.handle = func(b *board, w boardWrite) boardReply {
			for k, v := range w.json["Attributes"].(map[string]any) {
				b.docs[biosSettings]["Attributes"].(map[string]any)[k] = v
			}
			if w.json["@Redfish.SettingsApplyTime"] == nil {
				return boardReply{code: 200}
			}
			scheduled = true
			b.docs[job] = map[string]any{"@odata.type": "#Task.v1_5_1.Task", "TaskState": "Starting"}
			return boardReply{code: 202, location: job}
		}
		b.docs[biosPath]["@Redfish.Settings"].(map[string]any)["SupportedApplyTimes"] = []any{"OnReset", "AtMaintenanceWindowStart"}
		var q []quirk.Name
		if on {
			q = append(q, quirk.BIOSApplyTime)
		}
		s := dialBoard(t, b, q...)
		o, err := s.StageBIOS(context.Background(), map[string]any{"ProcTurbo": "Disabled"}, "")
		if err != nil {
			t.Fatal(err)
		}
		if scheduled { // the start that follows
			b.restart()
			b.edit(job, func(d map[string]any) { d["TaskState"] = "Completed" })
		}
		p, err := s.Poll(context.Background(), o)
		if err != nil || p.Done != on {
			t.Errorf("quirk %v: %+v, %v", on, p, err)
		}
	}
	// Not where the BMC offers other times only, nor twice.
	b := newBIOS(t)
	b.docs[biosPath]["@Redfish.Settings"].(map[string]any)["SupportedApplyTimes"] = []any{"Immediate"}
	if _, err := dialBoard(t, b, quirk.BIOSApplyTime).StageBIOS(context.Background(), map[string]any{"Cores": 1}, ""); err != nil || strings.Contains(b.sent[0].Body, "ApplyTime") {
		t.Errorf("%v, %+v", err, b.sent)
	}
	b = newBIOS(t)
	if o, err := dialBoard(t, b, quirk.BIOSApplyTime).StageBIOS(context.Background(), map[string]any{"Cores": 1}, bmc.ApplyNow); err != nil || o.NeedsReset || !strings.Contains(b.sent[0].Body, `"Immediate"`) {
		t.Errorf("%+v, %v, %+v", o, err, b.sent)
	}
}

func TestQuirkBIOSResetBody(t *testing.T) { // quirk.BIOSResetBody
	// openstack/sushy, sushy/resources/system/bios.py, reset_bios: "Send empty
	// payload, if BMC expects body": a POST without one is answered 415, one with {}
	// is taken (OpenStack story 2008198; Dell's own scripts send {}).
	for _, on := range []bool{false, true} {
		b := newBIOS(t)
		b.handle = func(b *board, w boardWrite) boardReply {
			if w.Body != "{}" {
				return boardReply{code: http.StatusUnsupportedMediaType}
			}
			return boardReply{code: 200}
		}
		var q []quirk.Name
		if on {
			q = append(q, quirk.BIOSResetBody)
		}
		_, err := dialBoard(t, b, q...).ResetBIOS(context.Background())
		if (err == nil) != on {
			t.Errorf("quirk %v: %v", on, err)
		}
	}
}

func TestQuirkBIOSPath(t *testing.T) { // quirk.BIOSPath
	// openstack/sushy-tools, sushy_tools/emulator/main.py:
	// @app.route('/redfish/v1/Systems/<identity>/BIOS', methods=['GET']) and
	// '/redfish/v1/Systems/<identity>/BIOS/Settings' for GET and PATCH. That a
	// system names no Bios is unverified: no capture at hand.
	for _, on := range []bool{false, true} {
		b := newBIOS(t)
		b.change(func(s map[string]any) { delete(s, "Bios") })
		b.docs[sysPath+"/BIOS"] = b.docs[biosPath]
		delete(b.docs, biosPath)
		var q []quirk.Name
		if on {
			q = append(q, quirk.BIOSPath)
		}
		got, err := dialBoard(t, b, q...).BIOS(context.Background())
		if (err == nil) != on || on && got.Attributes["ProcTurbo"] != "Enabled" {
			t.Errorf("quirk %v: %v, %v", on, got.Attributes, err)
		}
	}
}
